import Glibc
import Launcher
import System
import Testing

/// Everything in hostfiles/, as a user gives it to the launcher.
@Suite struct SampleTests {
  static let names = System.names(in: "\(packageFolder)/hostfiles").sorted()

  /// The samples name one another from the package's folder.
  func dryRun(_ words: String, environment: [String: String?] = [:]) throws -> RunResult {
    try run(
      "/bin/sh", ["-c", "cd \(packageFolder) && \(binaries)/launch --dry_run \(words)"], environment: environment)
  }

  @Test func everySampleIsTested() {
    #expect(
      Self.names == [
        "debug.yaml", "four-hosts", "four-hosts.yaml", "slurm.sbatch", "slurm.yaml", "this-machine",
        "this-machine.yaml", "two-hosts", "two-hosts.yaml",
      ])
  }

  @Test(arguments: [
    ("--hostfile hostfiles/this-machine", 2, ["localhost slots=2"]),
    ("--config_file hostfiles/this-machine.yaml", 2, []),
    ("--hostfile hostfiles/two-hosts", 6, ["nodea slots=2", "nodeb slots=4"]),
    ("--config_file hostfiles/two-hosts.yaml", 6, ["nodea slots=2", "nodeb slots=4"]),
    ("--hostfile hostfiles/four-hosts", 11, ["node1 slots=4", "node2 slots=4", "node3 slots=2", "node4 slots=1"]),
    (
      "--config_file hostfiles/four-hosts.yaml", 11,
      ["node1 slots=4", "node2 slots=4", "node3 slots=2", "node4 slots=1"]
    ),
  ]) func jobs(_ words: String, _ ranks: Int, _ hosts: [String]) throws {
    let result = try dryRun("\(words) finetune")
    #expect(result.status == 0, "\(result.stderr)")
    #expect(result.text.contains("  --np \(ranks) "), "\(result.text)")
    #expect(result.lines.filter { $0.hasPrefix("#   ") }.map { String($0.dropFirst(4)) } == hosts)
    #expect(result.stderr.isEmpty)
  }

  @Test func debugging() throws {
    let result = try dryRun("--config_file hostfiles/debug.yaml finetune")
    #expect(result.text.hasSuffix("/finetune\n") && result.text.contains("LOCKSTEP_DEBUG=1\n"), "\(result.stderr)")
    #expect(!result.text.contains("mpirun"))
  }

  @Test func slurm() throws {
    let allocation: [String: String?] = [
      "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_TASKS_PER_NODE": "4(x2)", "SLURM_CPUS_PER_TASK": "2",
      "OMP_NUM_THREADS": nil, "OPENBLAS_NUM_THREADS": nil, "LOCKSTEP_NUM_THREADS": nil,
    ]
    let result = try dryRun("--config_file hostfiles/slurm.yaml finetune", environment: allocation)
    #expect(result.text.contains("#   n1 slots=4\n#   n2 slots=4\n"), "\(result.text) \(result.stderr)")
    #expect(result.text.contains("OMP_NUM_THREADS=2\n") && result.text.contains("  --np 8 "))
  }

  @Test(arguments: ["this-machine.yaml", "two-hosts.yaml", "four-hosts.yaml", "debug.yaml", "slurm.yaml"])
  func nothingInThemIsIgnored(_ name: String) throws {
    #expect(try ConfigFile(path: "\(packageFolder)/hostfiles/\(name)").ignored.map(\.key) == ["use_cpu"])
  }
}
