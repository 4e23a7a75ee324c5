import Glibc
import Launcher
import System
import TestSupport
import Testing

/// A job that was stopped midway never ends with 0, whoever got the signal; a batch system would go on with its results.
@Suite(.serialized) struct StoppedMidwayTests {
  /// The process that a signal goes to.
  enum Receiver: String, CaseIterable { case mpirun, agent, rank }

  func start(_ words: [String]) throws -> Running {
    let running = try Running("\(binaries)/launch", words.map { Array($0.utf8) })
    try #require(running.wait { running.output().utf8.contains(10) && running.job.programs.count == 2 })
    usleep(1_500_000)
    return running
  }

  func pid(of receiver: Receiver, in running: Running) throws -> pid_t {
    let found = running.job.all.first { pid in
      let words = (systemFile("/proc/\(pid)/cmdline") ?? []).split(separator: 0).map {
        String(decoding: $0, as: UTF8.self)
      }
      return switch receiver {
      case .mpirun: words.first?.hasSuffix("mpirun") ?? false
      case .agent: words.contains("--rank-agent") && !(words.first?.hasSuffix("mpirun") ?? false)
      case .rank: running.job.programs[1] == pid
      }
    }
    return try #require(found)
  }

  @Test(
    "SIGTERM and SIGUSR1 to mpirun, an agent and a rank of a program that looks", arguments: Receiver.allCases,
    [SIGTERM, SIGUSR1])
  func looks(receiver: Receiver, signal: Int32) throws {
    let running = try start(["-n", "2", FailureTests.check, "works", "20"])
    kill(try pid(of: receiver, in: running), signal)
    let result = running.finish(within: 30)
    // mpirun and agents end their ranks at SIGTERM; a rank stops in order, and the others with it.
    let isEnded = signal == SIGTERM && receiver != .rank
    #expect(result.status == (isEnded ? 75 : 128 + signal), "\(result.stderr)")
    #expect(result.stderr.contains(isEnded ? "launch: error: " : "have stopped after step"), "\(result.stderr)")
    #expect(result.left == [])
  }

  @Test("mpirun that was told to end says nothing: the launcher does", arguments: [SIGTERM, SIGINT]) func silent(
    signal: Int32
  ) throws {
    let running = try start(["-n", "2", "sh", "-c", "echo up; trap '' TERM INT; sleep 600"])
    kill(try pid(of: .mpirun, in: running), signal)
    let result = running.finish(within: 30)
    #expect(result.status == 75, "\(result.stderr)")
    #expect(
      result.error.contains("mpirun ended with status 1") || result.error.contains("ended by signal"),
      "\(result.stderr)")
    #expect(result.left == [])
  }

  @Test("programs that end with 0 when they are told to", arguments: [Receiver.mpirun, .agent]) func obedient(
    receiver: Receiver
  ) throws {
    let running = try start(["-n", "2", "sh", "-c", "trap 'exit 0' TERM; echo up; sleep 600 & wait"])
    kill(try pid(of: receiver, in: running), SIGTERM)
    let result = running.finish(within: 30)
    #expect(result.status == 75, "\(result.stderr)")
    #expect(result.error.hasPrefix("launch: error: "), "\(result.stderr)")
  }

  @Test("one process that ends with 0 when it is told to", arguments: [SIGTERM, SIGINT]) func alone(signal: Int32)
    throws
  {
    let running = try Running(
      "\(binaries)/launch",
      ["-n", "1", "bash", "-c", "trap 'exit 0' TERM INT; echo up; sleep 600 & wait"].map { Array($0.utf8) })
    try #require(running.wait { running.output() == "up\n" })
    kill(running.child.pid, signal)
    #expect(running.finish(within: 30).status == 128 + signal)
  }

  @Test("what was through before the signal is a success") func through() throws {
    let result = try launch("-n", "2", FailureTests.check, "steps", "3")
    #expect(result.status == 0 && result.stderr.isEmpty, "\(result.stderr)")
  }
}
