import Glibc
import Launcher
import System
import Testing

/// The self-test, as `launch test` starts it.
@Suite(.serialized) struct SelftestTests {
  static let success = "Test is a success! You are ready for your distributed training!"

  @Test(arguments: [["-n", "1"], ["-n", "2"], ["-n", "3"], ["--in_process", "3"]])
  func passes(_ options: [String]) throws {
    let result = try run("\(binaries)/launch", ["test"] + options)
    #expect(result.status == 0, "\(result.stderr)")
    #expect(result.lines.last == Self.success)
    #expect(result.lines.count { $0.hasPrefix("ok  ") } == 25)
  }

  @Test func ranksOnHostsWithoutSharedMemory() throws {
    let result = try launch("test", "-n", "2", environment: ["LOCKSTEP_SHARED_MEMORY": "off"])
    #expect(result.lines.last == Self.success, "\(result.stderr)")
  }

  /// Threads that differ over the ranks are found.
  @Test func whatDiffersIsNamed() throws {
    let result = try launch(
      "-n", "2", "sh", "-c",
      "[ $OMPI_COMM_WORLD_RANK = 1 ] && export LOCKSTEP_NUM_THREADS=2; exec \(binaries)/selftest",
      environment: ["LOCKSTEP_NUM_THREADS": "1"])
    #expect(result.status == 76)
    #expect(
      result.stderr.contains("the ranks differ in threads: rank 1 (host \(hostName)) 2, rank 0"), "\(result.stderr)")
  }

  @Test func takesNoProgram() throws {
    let result = try launch("test", "-n", "2", "foo")
    #expect(result.status == 64)
    #expect(result.stderr == "launch: error: foo: test takes options only, expected no PROGRAM\n")
    let behind = try launch("-n", "2", "test")
    #expect(behind.status == 64)
    #expect(behind.stderr.contains("test: is a command of the launcher, expected in front of the options"))
    #expect(try launch("test", "--help").text.contains("OVERVIEW: Test ranks"))
  }
}

@Suite struct MemoryEstimateTests {
  static let model = "\(packageFolder)/Tests/Golden/tiny-bert"

  @Test func table() throws {
    let result = try launch("estimate-memory", Self.model, "-n", "2", "--batch-size", "4", "--max-length", "16")
    #expect(result.status == 0, "\(result.stderr)")
    for text in ["23938 parameters, 4 rows of at most 16 tokens on each of 2 ranks, 1 host", "weights ", "together "] {
      #expect(result.text.contains(text), "\(result.text)")
    }
  }

  /// Parts by hand: 4 bytes a parameter; the ranks of a host share weights and moments.
  @Test func parts() throws {
    func json(_ options: String...) throws -> String {
      try run("\(binaries)/launch", ["estimate-memory", Self.model, "--json"] + options).text
    }
    let bytes = 23_938 * 4
    let alone = try json()
    #expect(alone.contains("\"weights\":{\"rank_bytes\":\(bytes),\"host_bytes\":\(bytes)}"), "\(alone)")
    #expect(alone.contains("\"optimizer\":{\"rank_bytes\":\(2 * bytes),\"host_bytes\":\(2 * bytes)}"))
    let four = try json("--num_processes", "4")
    #expect(four.contains("\"weights\":{\"rank_bytes\":\(bytes / 4),\"host_bytes\":\(bytes)}"), "\(four)")
    #expect(four.contains("\"gradients\":{\"rank_bytes\":\(bytes),\"host_bytes\":\(4 * bytes)}"))
    let hosts = try json("-n", "4", "--num_machines", "2")
    #expect(hosts.contains("\"weights\":{\"rank_bytes\":\(bytes / 2),\"host_bytes\":\(bytes)}"), "\(hosts)")
    #expect(hosts.contains("\"optimizer\":{\"rank_bytes\":\(bytes),\"host_bytes\":\(2 * bytes)}"), "\(hosts)")
    // Six buckets of 256 kB on their way in each of two peer groups, ours and the others'.
    let buckets = 2 * 6 * 2 * (1 << 18)
    #expect(four.contains("\"sums\":{\"rank_bytes\":0,\"host_bytes\":0}"), "\(four)")
    #expect(hosts.contains("\"sums\":{\"rank_bytes\":\(buckets / 2),\"host_bytes\":\(buckets)}"), "\(hosts)")
    // What rounding loses is kept for each gradient.
    let rounded = try json("-n", "4", "--num_machines", "2", "--ddp-comm-hook", "bf16")
    #expect(rounded.contains("\"host_bytes\":\(buckets + bytes)}}"), "\(rounded)")
  }

  @Test(arguments: [
    (["/nonexistent"], Int32(66), "there is no such folder"),
    (["--batch-size", "0"], 64, "--batch-size: 0, expected at least 1"),
    (["--max-length", "4096"], 64, "expected at most the model's"),
    (["-n", "1", "--num_machines", "2"], 64, "2 hosts for 1 ranks"),
  ]) func refused(_ options: [String], _ status: Int32, _ says: String) throws {
    let result = try run("\(binaries)/launch", ["estimate-memory"] + options)
    #expect(result.status == status)
    #expect(result.stderr.contains(says), "\(result.stderr)")
  }

  /// What two steps really take, against the estimate. A loose bound: of the last layer, here one of two, forward and
  /// backward touch first tokens only.
  @Test func measured() throws {
    let result = try launch(
      "estimate-memory", Self.model, "--batch-size", "256", "--measure", "--json")
    func number(_ key: String) throws -> Double {
      let tail = try #require(result.text.components(separatedByText: "\"\(key)\":").last)
      return try #require(Double(tail.prefix { $0.isNumber }))
    }
    let (measured, estimated) = (try number("measured_bytes"), try number("rank_bytes"))
    #expect(measured > 0.35 * estimated && measured < 1.3 * estimated, "\(measured) measured, \(estimated) estimated")
  }
}

extension String {
  /// The parts between occurrences of `text`.
  func components(separatedByText text: String) -> [String] {
    var parts = [""]
    var rest = self[...]
    while !rest.isEmpty {
      if rest.hasPrefix(text) {
        parts.append("")
        rest = rest.dropFirst(text.count)
      } else {
        parts[parts.count - 1].append(rest.removeFirst())
      }
    }
    return parts
  }
}
