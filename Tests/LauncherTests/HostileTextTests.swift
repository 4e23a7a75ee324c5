import Glibc
import Launcher
import System
import Testing

/// Text from hosts, from Slurm, from files and from variables: whatever it is, it is refused with a line, at once.
@Suite struct HostileTextTests {
  // MARK: Answers of hosts.

  @Test(arguments: [
    "memory 9223372036854775807", "memory -1", "temporary 9223372036854775807", "shared 99999999999999999999999",
    "clock -9223372036854775808", "clock 9223372036854775807", "cores 99999999999", "cores -9",
    "memory " + String(repeating: "9", count: 100_000),
  ]) func numbersOfNoHost(_ line: String) throws {
    let report = try #require(HostReport("lockstep-preflight:\(line)\nlockstep-preflight:end\n"))
    let nonsense = try #require(report.nonsense)
    #expect(nonsense.utf8.count < 200)
  }

  @Test(arguments: [
    "", " ", "end", "memory", "memory -", "clock x", "address", "address e", "data", "program a", "\u{FF}",
  ])
  func answersThatSayLittle(_ line: String) throws {
    let report = try #require(HostReport("lockstep-preflight:\(line)\n"))
    #expect(report.nonsense == nil)
    #expect(report.freeMemoryBytes == nil && report.clockSeconds == nil)
  }

  @Test func manyAddressesAreNonsenseAndFast() throws {
    let lines = (0..<20_000).map { "lockstep-preflight:address e\($0) 10.\($0 >> 8).\($0 & 255).1/24\n" }.joined()
    let report = try #require(HostReport(lines + "lockstep-preflight:end\n"))
    #expect(report.nonsense != nil && report.addresses.count <= 1024)
    let judged = NetworkRules([("a", report.addresses), ("b", [])], networks: [])
    #expect(judged.findings.isEmpty)
    let both = NetworkRules([("a", report.addresses), ("b", report.addresses)], networks: [])
    #expect(both.findings.count == 1, "none is common, for each is the same on both")
  }

  @Test func everyPrefixOfAnAddress() {
    for prefix in 0...32 {
      let address = HostReport.Address(interface: "e", "255.255.255.255/\(prefix)")
      #expect(address?.network.hasSuffix("/\(prefix)") == true)
    }
  }

  // MARK: Slurm.

  @Test(arguments: [
    "n" + String(repeating: "[0]", count: 30_000), "n[0-65535][0-65535]", "n[0-65535,0-65535]",
    "n[" + String(repeating: "0-65535,", count: 2000) + "0]", "n[0-1]" + String(repeating: "x[0-1]", count: 40),
    String(repeating: "n[0-60000],", count: 3), String(repeating: "n", count: 254) + "[0-1]",
    "n[" + String(repeating: "0", count: 300) + "]", String(repeating: "n", count: 200) + "[0-65535]",
  ]) func listsOfTooManyHosts(_ list: String) {
    do throws(Failure) {
      Issue.record("accepted: \(try SlurmAllocation.expand(list).count) hosts")
    } catch {
      #expect(error.status == .configuration)
      #expect(error.description.utf8.count < 400, "\(error)")
    }
  }

  @Test func listsAtTheLimit() throws {
    #expect(try SlurmAllocation.expand("n[0-65535]").count == 65_536)
    #expect(try SlurmAllocation.expand("n[00-09]x[0-1]").prefix(3) == ["n00x0", "n00x1", "n01x0"])
  }

  @Test(arguments: ["65535(x2000)", "2(x65535)", "65(x1009)"]) func tooManyRanks(_ tasks: String) throws {
    let count = try SlurmAllocation.counts(tasks, at: "").count
    let variables = [
      "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[1-\(count)]", "SLURM_TASKS_PER_NODE": tasks,
    ]
    let slurm = try SlurmAllocation(Environment(variables))
    let settings = try Settings(flags: [:], environment: Environment(), file: nil)
    do throws(Failure) {
      _ = try ClusterPlan(settings, cores: 1, isSingleProcess: false, ownName: nil, slurm: slurm)
      Issue.record("accepted")
    } catch { #expect(error.status == .configuration && error.description.contains("65536"), "\(error)") }
  }

  // MARK: Hostfiles.

  @Test(arguments: [
    String(repeating: "=", count: 4_000_000), "a " + String(repeating: "k", count: 4_000_000) + "=1\n",
    "a slots=" + String(repeating: "9", count: 4_000_000), String(repeating: "h", count: 4_000_000),
    "a username=" + String(repeating: "-", count: 4_000_000), "a " + String(repeating: "b ", count: 1_000_000),
    (0...65_536).map { "h\($0)\n" }.joined(),
  ]) func hostfilesOfNoCluster(_ text: String) {
    do throws(Failure) {
      _ = try Hostfile(Array(text.utf8), path: "h")
      Issue.record("accepted")
    } catch {
      #expect(error.status == .configuration)
      #expect(error.description.utf8.count < 400, "\(error)")
    }
  }

  @Test func hostfileSlotsOfTooManyRanks() throws {
    let hosts = try Hostfile(Array("a slots=65535\nb slots=65535\n".utf8), path: "h").entries
    #expect(throws: Failure.self) { try Placement(hosts, ranks: nil, path: "h") }
    #expect(try Placement(hosts, ranks: 65_536, path: "h").hosts.count == 2)
  }

  // MARK: YAML.

  /// A quote, a comment or a block text in front of which a reader of its own may lose its place.
  static let disguises = [
    "", "x: |\n  'y\n", "x: >\n  \"y\n", "x: |2-\n    ' \" [\n", "x: a'b\n", "x: \"a\\\"b\"\n", "x: 'it''s'\n",
    "x: a\n  'b\n", "x: a #'\n", "? |\n  '\n: 1\n", "- |\n 'y\n",
  ]

  @Test(arguments: disguises) func aliasesAreRefusedInEveryContext(_ disguise: String) {
    var bomb = disguise + "a0: &a0 [1,1]\n"
    for level in 1..<30 { bomb += "a\(level): &a\(level) [*a\(level - 1),*a\(level - 1)]\n" }
    for end in ["? *a29\n: 1\n", "*a29 : 1\n", "{*a29: 1}\n", "z: *a29\n"] {
      do throws(Failure) {
        _ = try ConfigFile(Array((bomb + end).utf8), path: "c.yaml")
        Issue.record("accepted: \(end)")
      } catch {
        #expect(error.status == .configuration)
        #expect(error.place?.hasPrefix("c.yaml") == true && error.description.utf8.count < 400, "\(error)")
      }
    }
  }

  @Test(arguments: disguises) func deepNestingIsRefusedInEveryContext(_ disguise: String) {
    for open in ["[", "{", "- ", "? ", "[{", "{a: ", "- [", "a: [", "!!seq ["] {
      let text = disguise + "a: " + String(repeating: open, count: 20_000)
      #expect(throws: Failure.self, "\(open)") { try ConfigFile(Array(text.utf8), path: "c.yaml") }
      let block = disguise + String(repeating: open, count: 20_000)
      #expect(throws: Failure.self, "\(open)") { try ConfigFile(Array(block.utf8), path: "c.yaml") }
    }
  }

  @Test(arguments: [
    "1:59:59:59:59:59:59:59:59:59:59:59:59", "9223372036854775808", "-9223372036854775809", "0x7fffffffffffffff",
    "1e999",
    ".inf", ".nan", "0b1", "1_0", "+1", String(repeating: "9", count: 10_000),
  ]) func numbersOfYAML(_ number: String) {
    for key in ["machine_rank", "num_processes", "num_machines", "main_process_port", "lockstep: {stall_timeout"] {
      let text = "\(key): \(number)\(key.contains("{") ? "}" : "")\nnum_machines: 2\n"
      do throws(Failure) {
        _ = try ConfigFile(Array(text.utf8), path: "c.yaml")
        Issue.record("accepted: \(text.prefix(80))")
      } catch { #expect(error.status == .configuration && error.description.utf8.count < 400, "\(error)") }
    }
  }

  @Test func starsAndAmpersandsInTextAreFine() throws {
    let text = "# R&D, *all* of it\nlockstep: {mpirun_arguments: ['a & b', '*.txt', '--x=&y']}\n"
    #expect(try ConfigFile(Array(text.utf8), path: "c.yaml").values.count == 1)
  }

  // MARK: Options.

  @Test func extremeNumbersOfOptionsAndVariablesAreRefusedWithTheLimit() throws {
    let numbers = [
      "9223372036854775807", "9223372036854775808", "-1", "4294967296", String(repeating: "9", count: 5000),
    ]
    for setting in SettingDefinition.all {
      switch setting.kind {
      case .integer, .decimal: break
      default: continue
      }
      for number in numbers {
        do throws(Failure) {
          _ = try Settings(flags: [setting.name: [number]], environment: Environment(), file: nil)
          Issue.record("\(setting.name) took \(number)")
        } catch {
          #expect(error.status == .usage && error.place == "--\(setting.name)")
          #expect(error.message.contains("expected a") && error.description.utf8.count < 300, "\(error)")
        }
        for variable in setting.variables {
          #expect(throws: Failure.self) {
            try Settings(flags: [:], environment: Environment([variable: number]), file: nil)
          }
        }
      }
    }
  }

  @Test func suggestionsForLongNamesTakeNoTime() {
    #expect(nearest(to: String(repeating: "num_processes", count: 1_000_000), among: ["num_processes"]) == nil)
  }
}
