import Launcher
import System
import Testing

@Suite struct CoresTests {
  /// Files of a kernel with these contents.
  func quota(_ cgroups: String, _ files: [String: String]) -> Double? { Cores.quota(cgroups: cgroups) { files[$0] } }

  @Test func smallestQuotaOfAllLevelsCounts() {
    let files = ["/sys/fs/cgroup/a/b/cpu.max": "max 100000", "/sys/fs/cgroup/a/cpu.max": "150000 100000"]
    #expect(quota("0::/a/b", files) == 1.5)
    #expect(quota("0::/", files) == nil)
    // The order of the levels does not matter.
    #expect(
      quota("0::/a", ["/sys/fs/cgroup/a/cpu.max": "50000 100000", "/sys/fs/cgroup/cpu.max": "200000 100000"]) == 0.5)
    #expect(
      quota("0::/a", ["/sys/fs/cgroup/a/cpu.max": "200000 100000", "/sys/fs/cgroup/cpu.max": "50000 100000"]) == 0.5)
    #expect(quota("0::/", ["/sys/fs/cgroup/cpu.max": "50000 100000"]) == 0.5)
  }

  @Test func versionOneGroups() {
    let folder = "/sys/fs/cgroup/cpu,cpuacct/docker/x"
    let files = ["\(folder)/cpu.cfs_quota_us": "200000", "\(folder)/cpu.cfs_period_us": "100000"]
    #expect(quota("4:memory:/docker/x\n3:cpu,cpuacct:/docker/x", files) == 2)
    #expect(quota("3:cpu,cpuacct:/docker/x", ["\(folder)/cpu.cfs_quota_us": "-1"]) == nil)
  }

  @Test func usableCores() {
    #expect(Cores(allowedCPUs: 8, physical: 4).usable == 4)
    #expect(Cores(allowedCPUs: 8, physical: 4, quota: 1.5).usable == 1)
    #expect(Cores(allowedCPUs: 8, physical: 4, quota: 0.25).usable == 1)
    #expect(Cores(allowedCPUs: 2, physical: 2, quota: 1e300).usable == 2)
    #expect(Cores.ofThisProcess().usable >= 1)
  }
}

@Suite struct NearestNameTests {
  @Test func nearestName() {
    #expect(nearest(to: "fintune", among: ["finetune", "inspect"]) == "finetune")
    #expect(nearest(to: "banana", among: ["finetune", "inspect"]) == nil)
  }

  @Test func distance() {
    let d = { (a: String, b: String) in editDistance(Array(a.utf8), Array(b.utf8)) }
    #expect(d("", "abc") == 3)
    #expect(d("kitten", "sitting") == 3)
    #expect(d("ab", "ba") == 1)
  }
}

@Suite struct EnvironmentTests {
  @Test func setsAndRemoves() {
    var environment = Environment(entries: [Array("A=1".utf8), Array("AB=2".utf8), [0x43, 0x3D, 0xFF]])
    environment["A"] = nil
    environment["D"] = "=x"
    #expect(environment.entries == [Array("AB=2".utf8), [0x43, 0x3D, 0xFF], Array("D==x".utf8)])
    #expect(environment["AB"] == "2")
  }

  @Test func rankVariablesGoOnlyInsideARank() {
    let user = ["OMPI_MCA_btl=self", "PATH=/bin"].map { Array($0.utf8) }
    var outside = Environment(entries: user)
    outside.removeRankVariables()
    #expect(outside.entries == user)
    var inside = Environment(entries: user + ["PMIX_RANK=0", "OMPI_UNIVERSE_SIZE=2", "PMI_X=1"].map { Array($0.utf8) })
    inside.removeRankVariables()
    #expect(inside.entries == [Array("PATH=/bin".utf8)])
  }
}

@Suite struct MPIMessagesTests {
  static let frame = String(repeating: "-", count: 74) + "\n"

  /// Reads `text` in pieces of `size` bytes.
  func read(_ text: String, by size: Int = 1000) -> (shown: String, fault: MPIMessages.Fault?) {
    var messages = MPIMessages()
    var shown: [UInt8] = []
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: size) {
      shown += messages.read(bytes[start..<min(start + size, bytes.count)])
    }
    shown += messages.finish()
    return (String(decoding: shown, as: UTF8.self), messages.fault)
  }

  @Test(arguments: [1, 7, 1000]) func signalOfARank(pieces size: Int) {
    let text =
      "mpirun noticed that process rank 3 with PID 0 on node nodeb exited on signal 9 (Killed).\n"
    let result = read("hello\n" + Self.frame + text + Self.frame + "bye", by: size)
    #expect(result.shown == "hello\nbye")
    #expect(result.fault?.rank == 3)
    #expect(result.fault?.host == "nodeb")
    #expect(result.fault?.signal == 9)
  }

  @Test func statusOfARank() {
    let text = """
      mpirun detected that one or more processes exited with non-zero status, thus causing
      the job to be terminated. The first process to do so was:

        Process name: [[20318,1],12]
        Exit code:    7

      """
    let result = read(Self.frame + text + Self.frame)
    #expect(result.shown.isEmpty)
    #expect(result.fault?.rank == 12)
    #expect(result.fault?.status == 7)
  }

  @Test func unknownTextsAreShown() {
    let text = Self.frame + "No such luck\n" + Self.frame
    #expect(read(text).shown == text)
    #expect(read(text).fault == nil)
    let open = Self.frame + "cut"
    #expect(read(open).shown == open)
  }

  @Test func firstAbortCounts() {
    let abort = { (rank: Int, status: Int) in
      Self.frame + "MPI_ABORT was invoked on rank \(rank) in communicator MPI_COMM_WORLD\nwith errorcode \(status).\n\n"
        + "NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.\n" + Self.frame
    }
    let result = read(abort(1, 300) + abort(0, 65))
    #expect(result.fault?.rank == 1)
    #expect(result.fault?.status == 300)
  }
}
