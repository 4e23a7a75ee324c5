import Glibc
import Launcher
import System
import TestSupport
import Testing

/// What is refused: one line, the right status, before anything starts.
@Suite struct UsageTests {
  struct Refusal: Sendable, CustomTestStringConvertible {
    var arguments: [String]
    var status: Int32
    var says: String
    var testDescription: String { arguments.joined(separator: " ") }

    init(_ arguments: String..., status: Int32 = 64, says: String) {
      self.arguments = arguments
      self.status = status
      self.says = says
    }
  }

  static let refusals = [
    Refusal("-n", "0", "true", says: "--num_processes: \"0\", expected a whole number from 1"),
    Refusal("-n=-3", "true", says: "--num_processes: \"-3\""),
    Refusal("-n", "-3", "true", says: "-n"),
    Refusal("--num_processes", "abc", "true", says: "\"abc\", expected"),
    Refusal("--num-processes", "1000000000", "true", says: "\"1000000000\", expected"),
    Refusal("--num_processes", "99999999999999999999", "true", says: "99999999999999999999"),
    Refusal("-n", "", "true", says: "--num_processes: \"\", expected a whole number"),
    Refusal("-n", "2.5", "true", says: "\"2.5\", expected"),
    Refusal("--num_machines", "0", "true", says: "--num_machines: \"0\", expected a whole number from 1"),
    Refusal("--num_machines", "-1", "true", says: "--num_machines"),
    Refusal("--machine_rank", "2", "--num_machines", "2", "true", says: "--machine_rank"),
    Refusal("--machine_rank=-1", "true", says: "--machine_rank"),
    Refusal("--main_process_port", "99999", "true", says: "--main_process_port: \"99999\", expected"),
    Refusal("--main_process_port", "0", "true", says: "--main_process_port: \"0\", expected"),
    Refusal("--ssh_port", "99999", "true", says: "--ssh_port: \"99999\", expected a whole number from 1 to 65535"),
    Refusal("-n", "2", "--in_process", "2", "true", says: "contradict"),
    Refusal("--num_proceses", "2", "true", says: "did you mean --num_processes?"),
    Refusal("--wibble", says: "--wibble: unknown option"),
    Refusal("-n", "2", "--num_cpu_threads_per_process", "0", "true", says: "\"0\", expected"),
    Refusal("-n", "2", "fintune", status: 66, says: "fintune: no such program"),
    Refusal("-n", "2", "/nonexistent/x", status: 66, says: "/nonexistent/x: no such program"),
    Refusal("-n", "2", "/tmp", status: 66, says: "is a directory"),
    Refusal("-n", "2", "/etc/passwd", status: 66, says: "is not executable"),
  ]

  @Test("impossible numbers of ranks, and other words that cannot be meant", arguments: refusals)
  func refused(_ refusal: Refusal) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    // The program would leave a mark.
    let words = refusal.arguments.flatMap { $0 == "true" ? ["/usr/bin/touch", "\(folder)/mark"] : [$0] }
    let result = try run("\(binaries)/launch", words)
    #expect(!exists("\(folder)/mark"))
    #expect(result.status == refusal.status)
    #expect(result.stderr.contains(refusal.says), "got: \(result.stderr)")
    #expect(result.stderr.utf8.filter { $0 == 10 }.count == 1, "got: \(result.stderr)")
    #expect(result.stdout.isEmpty)
  }

  @Test func threadVariablesAreChecked() throws {
    let result = try launch("-n", "2", "true", environment: ["LOCKSTEP_NUM_THREADS": nil, "OMP_NUM_THREADS": "lots"])
    #expect(result.status == 64)
    #expect(result.stderr.contains("OMP_NUM_THREADS: \"lots\""))
  }

  @Test("a missing mpirun is said, with the way out") func withoutMPIRun() throws {
    let result = try launch("-n", "2", "/bin/sh", environment: ["PATH": "/nonexistent"])
    #expect(result.status == 69)
    #expect(result.stderr.hasPrefix("launch: error: mpirun is not on the PATH (") && result.stderr.contains("--mpirun"))
    #expect(result.stderr.utf8.count { $0 == 10 } == 1)
  }

  @Test("mpirun of a folder that is a link", .needs(.program("/bin/mpirun")))
  func linkedFolder() throws {
    let result = try launch("-n", "2", "/bin/true", environment: ["PATH": "/bin"])
    #expect(result.status == 0, "\(result.stderr)")
  }

  @Test func affinityIsBindingToCores() throws {

    let words = ["--dry_run", "-n", "2", "--num_cpu_threads_per_process", "1", "--enable-cpu-affinity", "true"]
    let dry = try run("\(binaries)/launch", words)
    #expect(dry.text.contains("  --bind-to core ") || dry.stderr.contains("binding: core, but 2 ranks"), "\(dry.text)")
  }

  @Test func helpIsShown() throws {
    let result = try launch("-n", "2", "--help")
    #expect(result.status == 0)
    #expect(result.text.contains("--num_processes"))
  }
}
