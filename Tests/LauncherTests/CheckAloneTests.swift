import Glibc
import Launcher
import System
import TestSupport
import Testing

/// `launch check` where there are no hosts to ask: on this machine alone, with other starters, and what becomes of the
/// all-reduces.
@Suite struct CheckAloneTests {
  @Test("a machine without a shell", .needs(.mounts))
  func noShell() throws {
    let command = "mount --bind /bin/false \"$(readlink -f /bin/sh)\"; exec \(binaries)/launch check -n 2"
    let result = try run("/usr/bin/env", ["unshare", "--mount", "/bin/bash", "-c", command])
    #expect(result.status == 69)
    #expect(
      result.stderr == "launch: error: this machine does not answer its own shell, expected /bin/sh to work\n",
      "\(result.text) \(result.stderr)")
  }

  /// An mpirun that ends as the all-reduces may.
  @Test(
    "what becomes of the all-reduces",
    arguments: [
      ("mpirun (Open MPI) 4.1.4", "exit 110", "error   all-reduce: did not end within 60 s (a firewall,", 69),
      ("mpirun (Open MPI) 4.1.4", "exit 3", "error   all-reduce: ended with status 3 (a firewall,", 69),
      (
        "mpirun (Open MPI) 4.1.4", "kill -9 $$", "error   all-reduce: mpirun itself was ended by signal 9 (SIGKILL)", 69
      ),
      (
        "HYDRA build details:", "exit 1",
        "warning all-reduces are not measured: the package's own programs need Open MPI\n", 0
      ),
    ] as [(String, String, String, Int32)])
  func allReduce(version: String, end: String, says: String, status: Int32) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && echo '\(version)' && exit\n\(end)\n"
    try writeAtomically(Array(script.utf8), to: "\(folder)/mpirun")
    chmod("\(folder)/mpirun", 0o755)
    let result = try launch("check", "-n", "2", "--mpirun", "\(folder)/mpirun", "true")
    #expect(result.text.contains(says), "\(result.text) \(result.stderr)")
    #expect(result.status == status, "\(result.text)")
  }

  @Test("inside a Slurm allocation") func slurm() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically(Array("#!/bin/sh\n".utf8), to: "\(folder)/srun")
    chmod("\(folder)/srun", 0o755)
    let variables: [String: String?] = [
      "PATH": "\(folder):/usr/bin:/bin", "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[1-2]",
      "SLURM_TASKS_PER_NODE": "1(x2)",
    ]
    let srun = try launch("check", "--launcher", "srun", environment: variables)
    #expect(
      srun.text == "ok      ranks are started by srun: Slurm knows its hosts, test tries them\n", "\(srun.stderr)")
    let mpirun = try launch("check", environment: variables)
    #expect(
      mpirun.text.contains(
        "ok      the hosts are Slurm's, which are reached through Slurm alone: only the all-reduces"),
      "\(mpirun.text) \(mpirun.stderr)")
  }

  @Test func oneProcess() throws {
    let result = try launch("check", "-n", "1")
    #expect(result.text == "ok      one process, started without MPI: nothing to check between hosts\n")
  }

  @Test func thisMachine() throws {
    // The variable for OpenMP is no number of cores.
    let result = try launch("check", "-n", "2", environment: ["OMP_NUM_THREADS": "1"])
    #expect(!result.text.contains("want") || Cores.ofThisProcess().allowedCPUs < 2, "\(result.text)")
    #expect(result.status == 0, "\(result.text) \(result.stderr)")
    #expect(result.text.contains("all-reduce of 1 kB over 2 ranks on 1 host: "))
    #expect(result.text.contains("all-reduce of 64 MB over 2 ranks on 1 host: "))
    #expect(result.text.contains("ok      Open MPI"))
  }
}

@Suite struct NetworkRulesTests {
  func addresses(_ text: String) throws -> [HostReport.Address] {
    try text.split(separator: " ").map {
      let parts = $0.split(separator: "=").map(String.init)
      try #require(parts.count == 2)
      return try #require(HostReport.Address(interface: parts[0], parts[1]))
    }
  }

  @Test func whereEachHostStands() throws {
    let lo = "lo=127.0.0.1/8 "
    let clean = [("a", try addresses(lo + "eth0=10.0.0.1/24")), ("b", try addresses(lo + "eth0=10.0.0.2/24"))]
    #expect(NetworkRules(clean, networks: []).findings.isEmpty)
    // A bridge with one address on every host leads nowhere.
    let docker = [
      ("a", try addresses("eth0=10.0.0.1/24 docker0=172.17.0.1/16")),
      ("b", try addresses("eth0=10.0.0.2/24 docker0=172.17.0.1/16")),
    ]
    let judged = NetworkRules(docker, networks: [])
    #expect(judged.advised == "10.0.0.0/24")
    #expect(judged.findings.count == 2)
    #expect(
      judged.findings.first?.failure.description
        == "a: docker0 (172.17.0.1/16) leads to no other host, MPI may try it and hang (--network 10.0.0.0/24)")
    #expect(NetworkRules(docker, networks: ["10.0.0.0/8"]).findings.isEmpty)
    #expect(NetworkRules(docker, networks: ["eth0"]).findings.isEmpty)
    #expect(NetworkRules(docker, networks: ["10.1.0.0/16"]).findings.count == 2)
    // One host alone has a further network.
    let one = [("a", try addresses("eth0=10.0.0.1/24")), ("b", try addresses("eth0=10.0.0.2/24 ib0=192.168.1.2/24"))]
    #expect(NetworkRules(one, networks: []).findings.map(\.failure.place) == ["b"])
    // Nothing is known without `ip`.
    #expect(NetworkRules([("a", []), ("b", try addresses("eth0=10.0.0.2/24"))], networks: []).findings.isEmpty)
  }

  @Test func badAddresses() {
    for text in ["", "/", "/8", "1.2.3/8", "1.2.3.4/33", "1.2.3.256/8", "a.b.c.d/8", "fe80::1/64"] {
      #expect(HostReport.Address(interface: "e", text) == nil, "\(text)")
    }
    #expect(HostReport.Address(interface: "tun0", "1.2.3.4")?.prefix == 32, "the end of a tunnel")
  }
}
