import Glibc
import Launcher
import System
import Testing

/// Every setting, from each of its sources.
@Suite struct SettingTests {
  /// A text that `setting` takes, and what it means.
  static func sample(_ setting: SettingDefinition) -> (text: String, value: SettingValue) {
    switch setting.kind {
    case .integer(let range): ("\(range.lowerBound)", .integer(range.lowerBound))
    case .decimal: ("1.5", .decimal(1.5))
    case .boolean: ("true", .boolean(true))
    case .path: ("/tmp/a b", .text("/tmp/a b"))
    case .choice(let choices): (choices.last ?? "", .text(choices.last ?? ""))
    case .networks: ("10.0.0.0/24,eth0", .list(["10.0.0.0/24", "eth0"]))
    case .variables: ("A,B", .list(["A", "B"]))
    case .hosts: ("a,b", .list(["a", "b"]))
    case .ranks: ("0,2-3", .list(["0", "2-3"]))
    case .words: ("--mca", .list(["--mca"]))
    }
  }

  func settings(
    _ flags: [String: [String]] = [:], _ variables: [String: String] = [:], _ file: ConfigFile? = nil
  ) throws -> Settings {
    try Settings(flags: flags, environment: Environment(variables), file: file)
  }

  @Test("a setting is set by its flag, each of its variables and its place in a file, and knows which it was")
  func everySource() throws {
    #expect(Set(SettingDefinition.all.map(\.name)).count == SettingDefinition.all.count)
    #expect(Set(SettingDefinition.all.map(\.path)).count == SettingDefinition.all.count)
    for setting in SettingDefinition.all {
      let (text, value) = Self.sample(setting)
      let byFlag = try #require(try settings([setting.name: [text]]).values[setting.name])
      #expect(byFlag.value == value && byFlag.origin == .flag("--\(setting.flag)"), "\(setting.name)")
      for variable in setting.variables + setting.variablesOfMPI {
        let byVariable = try #require(try settings([:], [variable: text]).values[setting.name])
        #expect(byVariable.value == value && byVariable.origin == .variable(variable), "\(variable)")
      }
      let file = try ConfigFile(Array(ConfigFile.text([setting.name: value]).utf8), path: "c")
      let byFile = try #require(try settings([:], [:], file).values[setting.name], "\(setting.path)")
      guard case .file("c", let line) = byFile.origin else { throw Failure(.badData, "\(byFile.origin)") }
      #expect(byFile.value == value && line > 3, "\(setting.name)")
      #expect(!setting.help.isEmpty)
    }
  }

  @Test("a flag is stronger than a variable, a variable than the file, and MPI's own variables are the weakest")
  func strength() throws {
    for setting in SettingDefinition.all where !setting.variablesOfMPI.isEmpty {
      let (text, value) = Self.sample(setting)
      let file = try ConfigFile(Array(ConfigFile.text([setting.name: value]).utf8), path: "c")
      let found = try settings([:], [setting.variablesOfMPI[0]: "/other"], file).values[setting.name]
      #expect(found?.value == value && found?.overridden == [], "\(setting.name)")
      #expect(
        try settings([setting.name: [text]], [setting.variablesOfMPI[0]: "/other"]).values[setting.name]?.value == value
      )
    }
  }

  @Test("a typed key finds its own value only") func typedKeys() throws {
    let all = try settings([
      "num_processes": ["3"], "stall_timeout": ["2.5"], "tee": ["on"], "binding": ["core"], "network": ["a", "b,c"],
    ])
    #expect(all[.processes] == 3 && all[.stallTimeout] == 2.5 && all[.tee] && all[.binding] == "core")
    #expect(all[.network] == ["a", "b", "c"])
    #expect(all[.machines] == nil && all[.monitorInterval] == nil && !all[.debug] && all[.include] == [])
  }

  @Test("the command line has a flag for every setting, and config explain names it as the origin") func flags() throws
  {
    let help = try launch("run", "--help", environment: ["COLUMNS": "400"]).text
    let words = help.split { $0 == " " || $0 == "," || $0 == "\n" }.map(String.init)
    var arguments = ["config", "explain", "--cpu"]
    // A setting that another one contradicts here.
    let apart = [Setting.hostfile.name, Setting.machines.name, Setting.include.name, Setting.exclude.name]
    for setting in SettingDefinition.all {
      for flag in [setting.flag] + setting.aliases {
        #expect(words.contains("--\(flag)"), "\(flag)")
        #expect(words.contains("--\(flag.replacing("_", with: "-"))"), "\(flag)")
      }
      if let short = setting.short { #expect(words.contains("-\(short)")) }
      #expect(help.contains(setting.help), "\(setting.name)")
      if apart.contains(setting.name) { continue }
      // With an equals sign, for a value may begin with a dash.
      arguments.append(
        setting.kind == .boolean ? "--\(setting.flag)" : "--\(setting.flag)=\(Self.sample(setting).text)")
    }
    let explained = try run("\(binaries)/launch", arguments)
    #expect(explained.status == 0, "\(explained.stderr)")
    for setting in SettingDefinition.all where !apart.contains(setting.name) {
      let line = explained.lines.first { $0.hasPrefix("\(setting.name) ") }
      #expect(line?.hasSuffix("flag --\(setting.flag)") == true, "\(setting.name): \(line ?? "missing")")
    }
  }
}

/// The environment is a value that a program reads once.
@Suite struct EnvironmentUseTests {
  /// Where it is read: what makes the value, and the doors of programs. A loop by hand enters where its model computes.
  private static let doors = [
    "System/Environment.swift", "launch-cli/main.swift", "Training/Process/Worker.swift",
    "programs/inspect/main.swift", "Lockstep/BertForSequenceClassification.swift",
  ]

  @Test("no other file asks for the environment") func readAtTheDoor() throws {
    let pattern =
      "\\b(secure_)?getenv\\(|ProcessInfo|\\benviron\\b([^\")]|$)|Environment\\.ofThisProcess"
      + "|Settings\\(\\.ofThisProcess|: \\.ofThisProcess\\(\\)$"
    let found = try run("/usr/bin/env", ["grep", "-rnE", pattern, "\(packageFolder)/Sources"])
    let others = found.lines.filter { line in
      !Self.doors.contains { line.contains("/Sources/\($0):") } && !line.contains("cores: .ofThisProcess()")
    }
    #expect(others == [])
    #expect(Self.doors.allSatisfy { door in found.lines.contains { $0.contains("/Sources/\(door):") } })
  }
}
