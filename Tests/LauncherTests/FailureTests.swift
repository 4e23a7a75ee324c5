import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Ranks that fail: the status, the rank that is named, and that nothing is left.
@Suite(.serialized) struct FailureTests {
  static let check = "\(binaries)/rankcheck"

  /// Runs the check `words` on two ranks.
  func fail(_ words: String..., options: [String] = [], environment: [String: String?] = [:]) throws -> RunResult {
    try run("\(binaries)/launch", ["-n", "2"] + options + [Self.check] + words, environment: environment)
  }

  /// When a rank is killed: the words that start the ranks, what they print when it is time, and the step that they
  /// have finished by then.
  struct Moment: Sendable, CustomTestStringConvertible {
    var name: String
    var words: [String]
    var says: String
    var step: String
    var testDescription: String { name }
  }

  static let moments = [
    Moment(name: "in the first step", words: ["works", "60000"], says: " works\n", step: "; if nobody did"),
    Moment(name: "in the middle", words: ["works", "20"], says: " works\n", step: " after step "),
    Moment(name: "in a save", words: ["saves"], says: " saves\n", step: " after step 3;"),
    Moment(name: "after the last step", words: ["lingers"], says: " lingers\n", step: " after step 3;"),
  ]

  @Test("a rank that is killed is named, with its last step", arguments: moments, [0, 1])
  func killed(moment: Moment, rank: Int) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let running = try Running(
      "\(binaries)/launch", (["-n", "2", Self.check] + moment.words).map { Array($0.utf8) },
      environment: ["FOLDER": folder])
    try #require(running.wait { (0..<2).allSatisfy { running.output().contains("rank \($0)\(moment.says)") } })
    if moment.name == "in the middle" { usleep(1_000_000) }
    let pid = try #require(running.job.programs[rank])
    let names = try #require(running.jobNames)
    #expect(!running.remains(names).isEmpty)
    let clock = ContinuousClock.now
    kill(pid, SIGKILL)
    let result = running.finish()
    #expect(ContinuousClock.now - clock < .seconds(20))
    result.expect(75, rank: rank, says: ", pid \(pid)): ended by signal 9 (SIGKILL)\(moment.step)")
    #expect(running.remains(names) == [])
  }

  @Test("a rank that leaves in the middle is a failure, whatever its status", arguments: [0, 7]) func leaves(
    status: Int
  ) throws {
    let result = try fail("exits", "\(status)")
    result.expect(
      status == 0 ? 75 : 7, rank: 1,
      says: status == 0
        ? "ended with status 0 after step 3, before its work was done" : "ended with status 7 after step 3")
    #expect(result.seconds < 40)
  }

  @Test("status 0 after MPI_Finalize is a failure without the record of its work") func leavesAfterMPI() throws {
    try fail("finalizes").expect(75, rank: 1, says: "ended with status 0 after step 3, before its work was done")
  }

  @Test("a rank that ends before MPI is there ends the job", arguments: ["0", "KILL", "5"]) func endsEarly(how: String)
    throws
  {
    let end = how == "KILL" ? "kill -KILL $$" : "exit \(how)"
    let result = try launch(
      "-n", "2", "sh", "-c", "[ $OMPI_COMM_WORLD_RANK = 0 ] || { \(end); }; exec \(Self.check) steps 3")
    switch how {
    case "0": result.expect(75, rank: 1, says: "ended with status 0 before it had joined the others")
    case "KILL": result.expect(75, rank: 1, says: "ended by signal 9 (SIGKILL)")
    default: result.expect(5, rank: 1, says: "ended with status 5")
    }
    #expect(result.seconds < 40)
  }

  @Test(
    "a trap is a mistake of the program; the message of a fatal error is there, others have none when optimized",
    arguments: [(0, ""), (1, ""), (2, ""), (3, "Fatal error: a mistake of ours\n")]) func traps(kind: Int, says: String)
    throws
  {
    let result = try fail("traps", "\(kind)", environment: ["SWIFT_BACKTRACE": "enable=no"])
    result.expect(70, rank: 1, says: "ended by signal 4 (SIGILL) after step 3")
    #expect(says.isEmpty || result.stderr.contains(says), "\(result.stderr)")
    #expect(result.seconds < 40)
  }

  @Test("signals that mean a mistake of the program have its status", arguments: ["SEGV", "BUS", "FPE", "ABRT"])
  func signals(name: String)
    throws
  {
    let result = try launch(
      "-n", "2", "sh", "-c",
      "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then echo last words >&2; kill -\(name) $$; fi; sleep 600")
    result.expect(70, rank: 1, says: "(SIG\(name))")
    #expect(result.stderr.contains("last words"))
  }

  @Test("a failure of one rank is the job's", arguments: [0, 1]) func fails(rank: Int) throws {
    let result = try fail("throws", "\(rank)")
    result.expect(73, rank: rank, says: "ended with status 73")
    #expect(result.stderr.contains("error: rank \(rank) (host \(hostName)): out: is read-only"))
  }

  @Test("of two failures the first counts, the other is listed") func twoFail() throws {
    let result = try fail("fails-twice")
    result.expect(65, rank: 1, says: "ended with status 65")
    #expect(result.stderr.contains("error: rank 1 (host \(hostName)): of rank 1"))
    #expect(
      result.stderr.contains("launch: failed too: rank 0 (host \(hostName), pid ")
        && result.stderr.contains("), status 73\n"), "\(result.stderr)")
  }

  @Test("MPI_Abort is never success", arguments: [0, 65]) func abort(status: Int) throws {
    let result = try fail("abort", "\(status)")
    #expect(result.status == (status == 0 ? 70 : 65), "\(result.stderr)")
    #expect(result.left == [])
  }

  /// By a program that calls MPI itself: the library has no such status.
  @Test(
    "MPI_Abort(0) and MPI_Abort(256) are failures", .needs(.program("python3")),
    arguments: [0, 256, 300])
  func foreignAbort(status: Int) throws {
    let script = """
      import ctypes, os, time
      mpi = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
      mpi.MPI_Init(None, None)
      if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
        mpi.MPI_Abort(ctypes.byref(ctypes.c_char.in_dll(mpi, "ompi_mpi_comm_world")), \(status))
      time.sleep(600)
      """
    // mpirun's own message about it is lost now and then.
    for _ in 0..<3 {
      let result = try launch("-n", "2", "python3", "-c", script)
      result.expect(status == 300 ? 44 : 75, says: status == 300 ? "rank 1 (host " : "MPI_Abort")
      #expect(result.error.hasPrefix("launch: error: rank 1 "), "\(result.stderr)")
      #expect(result.seconds < 40)
    }
  }

  @Test("what all ranks agreed on is said once, by the program") func agreed() throws {
    let result = try fail("agree-same")
    #expect(result.status == 66)
    #expect(result.stderr == "error: no folder here\n")
  }

  @Test("a job of programs without the library needs no records") func foreign() throws {
    #expect(try launch("-n", "2", "true").status == 0)
    #expect(try launch("-n", "3", "sh", "-c", "exit 0").stderr.isEmpty)
  }

  @Test(
    "a rank that the kernel killed for memory is said to be",
    .needs(.memoryGroup))
  func outOfMemory() throws {
    let group = try MemoryGroup(bytes: 40 << 20)
    defer { group.remove() }
    let script = """
      if [ $OMPI_COMM_WORLD_RANK = 1 ]; then
        echo $$ >\(group.path)/cgroup.procs; sleep 1.5; x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#x}
      fi
      sleep 600
      """
    let result = try launch("-n", "2", "sh", "-c", script)
    result.expect(75, rank: 1, says: "killed for lack of memory (oom_kill ")
    #expect(result.seconds < 40)
  }

  @Test("writing the record costs far less than a microsecond") func cost() throws {
    let result = try fail("cost")
    let nanoseconds = try result.lines.map { try #require(Int($0)) }
    // The machine may be busy: the quicker rank counts.
    #expect(try #require(nanoseconds.min()) < 1000, "\(nanoseconds)")
  }
}
