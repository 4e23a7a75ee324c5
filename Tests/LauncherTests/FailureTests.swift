import FileSystem
import Glibc
import Launcher
import Testing

/// Ranks that fail: the status, the rank that is named, and that nothing is left.
@Suite(.serialized) struct FailureTests {
  static let check = "\(binaries)/rankcheck"

  /// Runs the check `words` on two ranks.
  func fail(_ words: String..., options: [String] = [], environment: [String: String?] = [:]) throws -> RunResult {
    try run("\(binaries)/launch", ["-n", "2"] + options + [Self.check] + words, environment: environment)
  }

  @Test("P1: a rank that is killed is named, with its last step", arguments: [0, 1]) func killed(rank: Int) throws {
    let running = try Running("\(binaries)/launch", ["-n", "2", Self.check, "works", "20"].map { Array($0.utf8) })
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    usleep(1_500_000)
    let pid = try #require(running.job.programs[rank])
    let names = try #require(running.jobNames)
    #expect(!running.remains(names).isEmpty)
    let clock = ContinuousClock.now
    kill(pid, SIGKILL)
    let result = running.finish(within: 20)
    #expect(ContinuousClock.now - clock < .seconds(5))
    #expect(result.status == 75)
    #expect(
      result.error.hasPrefix(
        "launch: error: rank \(rank) (host \(hostName), pid \(pid)): ended by signal 9 (SIGKILL) after step "),
      "\(result.stderr)")
    #expect(running.job.all.isEmpty)
    #expect(running.remains(names) == [])
  }

  @Test("P2: status 0 without a record is a loss") func leaves() throws {
    let result = try fail("leaves", "1")
    #expect(result.status == 75)
    #expect(result.error.contains("rank 1 (host \(hostName), pid "))
    #expect(result.error.contains("ended with status 0 after step 3, before its work was done"), "\(result.stderr)")
  }

  @Test("P2, P10: a rank that ends before MPI is there") func endsEarly() throws {
    let result = try fail("steps", "3", environment: ["ENDS_EARLY": "1"])
    #expect(result.status == 75)
    #expect(result.error.contains("rank 1 ("))
    #expect(result.error.contains("ended with status 0 before it had joined the others"), "\(result.stderr)")
    #expect(result.seconds < 12)
  }

  @Test("P3: a trap is a mistake of the program; the rank's last lines are there") func traps() throws {
    let result = try fail("traps", "1", environment: ["SWIFT_BACKTRACE": "enable=no"])
    #expect(result.status == 70)
    #expect(result.error.contains("rank 1 (host \(hostName), pid "))
    #expect(result.error.contains("ended by signal 4 (SIGILL) after step 3"), "\(result.stderr)")
  }

  @Test("P3: other signals that mean a mistake", arguments: ["SEGV", "BUS", "FPE", "ABRT"]) func signals(name: String)
    throws
  {
    let result = try launch(
      "-n", "2", "sh", "-c",
      "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then echo last words >&2; kill -\(name) $$; fi; sleep 600")
    #expect(result.status == 70)
    #expect(result.error.contains("rank 1 (") && result.error.contains("(SIG\(name))"), "\(result.stderr)")
    #expect(result.stderr.contains("last words"))
  }

  @Test("P4: the first failure counts") func twoFail() throws {
    let result = try fail("fails-twice")
    #expect(result.status == 65)
    #expect(result.error.contains("rank 1 (") && result.error.contains("ended with status 65"), "\(result.stderr)")
    #expect(result.stderr.contains("error: rank 1 (host \(hostName)): of rank 1"))
  }

  @Test("what all ranks agreed on is said once, by the program") func agreed() throws {
    let result = try fail("agree-same")
    #expect(result.status == 66)
    #expect(result.stderr == "error: no folder here\n")
  }

  @Test("P5: MPI_Abort is never success", arguments: [0, 65]) func abort(status: Int) throws {
    let result = try fail("abort", "\(status)")
    #expect(result.status == (status == 0 ? 70 : 65), "\(result.stderr)")
  }

  @Test("a job of programs without the library needs no records") func foreign() throws {
    #expect(try launch("-n", "2", "true").status == 0)
    #expect(try launch("-n", "3", "sh", "-c", "exit 0").stderr.isEmpty)
  }

  @Test(
    "ranks that end with other weights, steps or calls disagree",
    arguments: [
      ("weights-differ", "ended with other weights than rank 0"),
      ("steps-differ", "ended after step 2, rank 0 after step 1"),
      ("roots-differ", "made 2 collective calls, other ones than rank 0's 2; --debug finds"),
    ]) func disagree(check: String, text: String) throws
  {
    let result = try fail(check, "1")
    #expect(result.status == 76)
    #expect(result.error.contains("rank 1 (host \(hostName), pid "))
    #expect(result.error.contains(text), "\(result.stderr)")
  }

  @Test("the same steps and digests are a success") func same() throws {
    let result = try fail("steps", "4")
    #expect(result.status == 0)
    #expect(result.stderr.isEmpty)
  }

  @Test("H2: --debug names the ranks and the places before data moves") func debug() throws {
    let result = try fail("roots-differ", "1", options: ["--debug"])
    #expect(result.status == 76)
    #expect(
      result.error.contains("rank 1 (host \(hostName)) broadcast from rank 1 of 8 bytes at rankcheck/Faults.swift:"))
    #expect(result.error.contains("rank 0 (host \(hostName)) broadcast from rank 0 of 8 bytes at rankcheck/"))
  }

  @Test("H5: what the ranks must have alike is compared at the start") func handshake() throws {
    let script = "NUMBER=$OMPI_COMM_WORLD_RANK exec \(Self.check) differ-in"
    let result = try launch("-n", "2", "sh", "-c", script)
    #expect(result.status == 76)
    #expect(
      result.stderr
        == "error: the ranks differ in the number: rank 1 (host \(hostName)) 1, rank 0 (host \(hostName)) 0\n")
    let threads = try launch(
      "-n", "2", "sh", "-c", "LOCKSTEP_NUM_THREADS=$((OMPI_COMM_WORLD_RANK + 1)) exec \(binaries)/finetune")
    #expect(threads.status == 76)
    #expect(
      threads.stderr.contains("the ranks differ in threads: rank 1 (host \(hostName)) 2, rank 0 (host \(hostName)) 1"))
    let words = try launch("-n", "2", "sh", "-c", "exec \(binaries)/finetune --seed $OMPI_COMM_WORLD_RANK")
    #expect(words.status == 76)
    #expect(words.stderr.contains("the ranks differ in the program's arguments"), "\(words.stderr)")
  }

  @Test(
    "P6: a rank that the kernel killed for memory",
    .enabled(if: MemoryGroup.isPossible, "memory control groups cannot be made here"))
  func outOfMemory() throws {
    let group = try #require(MemoryGroup(bytes: 40 << 20))
    let script = """
      if [ $OMPI_COMM_WORLD_RANK = 1 ]; then
        echo $$ >\(group.path)/cgroup.procs; sleep 1.5; x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#x}
      fi
      sleep 600
      """
    let result = try launch("-n", "2", "sh", "-c", script)
    group.remove()
    #expect(result.status == 75)
    #expect(
      result.error.contains("rank 1 (") && result.error.contains("killed for lack of memory (oom_kill "),
      "\(result.stderr)")
  }

  @Test("writing the record costs far less than a microsecond") func cost() throws {
    let result = try fail("cost")
    let nanoseconds = try result.lines.map { try #require(Int($0)) }
    // The machine may be busy: the quicker rank counts.
    #expect(try #require(nanoseconds.min()) < 1000, "\(nanoseconds)")
  }
}

/// A control group with little memory.
struct MemoryGroup {
  let path: String

  private static let root =
    exists("/sys/fs/cgroup/memory/memory.limit_in_bytes") ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup"
  private static var limit: String { root.hasSuffix("memory") ? "memory.limit_in_bytes" : "memory.max" }

  static var isPossible: Bool {
    guard geteuid() == 0, let group = MemoryGroup(bytes: 1 << 24) else { return false }
    group.remove()
    return true
  }

  init?(bytes: Int) {
    path = "\(Self.root)/lockstep-test-\(getpid())"
    guard mkdir(path, 0o755) == 0 else { return nil }
    guard let file = fopen("\(path)/\(Self.limit)", "w") else { return nil }
    fputs("\(bytes)", file)
    guard fclose(file) == 0 else { return nil }
  }

  func remove() {
    for _ in 0..<100 where rmdir(path) != 0 && errno == EBUSY { usleep(20_000) }
  }
}
