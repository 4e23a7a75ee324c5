import FileSystem
import Glibc
import Launcher
import Testing

/// Jobs that stand still: who is named, and that nobody is named in vain.
@Suite(.serialized) struct StallTests {
  static let check = FailureTests.check

  func start(_ words: String..., ranks: Int = 2, timeout: String = "3") throws -> Running {
    let running = try Running(
      "\(binaries)/launch",
      (["-n", "\(ranks)", "--stall_timeout", timeout, "--monitor_interval", "0.25", Self.check] + words).map {
        Array($0.utf8)
      })
    return running
  }

  @Test("P7: a stopped rank is named, not those that wait for it", arguments: [0, 2]) func stopped(rank: Int) throws {
    let running = try start("works", "5", ranks: 3)
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 3 })
    usleep(800_000)
    let pid = try #require(running.job.programs[rank])
    kill(pid, SIGSTOP)
    let clock = ContinuousClock.now
    let result = running.finish(within: 30)
    #expect(ContinuousClock.now - clock < .seconds(8))
    #expect(result.status == 75)
    #expect(
      result.error.hasPrefix(
        "launch: error: rank \(rank) (host \(hostName), pid \(pid)): stopped (state T), last seen"),
      "\(result.stderr)")
    #expect(result.error.contains("and 2 ranks wait in call ") && result.error.contains("at rankcheck/Faults.swift:"))
    #expect(result.stderr.contains("waits in call"))
    #expect(running.job.all.isEmpty)
  }

  @Test("P8: a pause, a slow rank and one that computes for long are no stall") func noFalseAlarm() throws {
    let running = try start("steps", "60")
    try #require(running.wait { running.job.programs.count == 2 })
    usleep(700_000)
    let pid = try #require(running.job.programs[1])
    kill(pid, SIGSTOP)
    usleep(2_000_000)
    kill(pid, SIGCONT)
    let result = running.finish(within: 60)
    #expect(result.status == 0)
    #expect(result.stderr.isEmpty, "\(result.stderr)")
    let busy = try start("computes", "5", timeout: "1").finish(within: 60)
    #expect(busy.status == 0 && busy.lines == ["true", "true"], "\(busy.stderr)")
  }

  @Test("P10: a rank that never starts") func neverStarts() throws {
    let running = try Running(
      "\(binaries)/launch", ["-n", "2", "--stall_timeout", "3", Self.check, "steps", "2"].map { Array($0.utf8) },
      environment: ["NEVER_STARTS": "1"])
    let result = running.finish(within: 60)
    #expect(result.status == 75)
    #expect(result.error.contains("rank 1 (host \(hostName), pid "))
    #expect(result.error.contains("did not start, while 1 rank waits for it"), "\(result.stderr)")
    #expect(result.seconds > 29 && result.seconds < 40)
  }

  @Test("H1: a rank that skips a collective; the last collectives of each are shown and kept") func skips() throws {
    let folder = try temporaryFolder()
    defer { for name in names(in: folder) { unlink("\(folder)/\(name)") }; rmdir(folder) }
    let result = try launch(
      "-n", "3", "--stall_timeout", "2", "--log_dir", folder, Self.check, "skips", "1")
    #expect(result.status == 76)
    #expect(result.error.contains("launch: error: rank 1 (host \(hostName), pid "))
    #expect(
      result.error.contains("at call 6, the end of the job at MPI_Finalize; the others at call 6, barrier at"),
      "\(result.stderr)")
    let kept = String(decoding: try readBytes("\(folder)/collectives.txt"), as: UTF8.self).split(separator: "\n")
    #expect(kept.count { $0.hasPrefix("  call ") } == 18, "\(kept)")
  }

  @Test("a rank that stays away, asleep") func staysAway() throws {
    let result = try start("stays-away", "1", ranks: 3).finish(within: 30)
    #expect(result.status == 75)
    #expect(result.error.contains("rank 1 (host \(hostName), pid "))
    #expect(result.error.contains("not in the collective, last seen leaving call 3"), "\(result.stderr)")
    #expect(result.error.contains("and 2 ranks wait in call 4, barrier at rankcheck/Faults.swift:"))
  }

  @Test("H8: every process of the ranks stands still, so that no sign of life comes") func silent() throws {
    let running = try start("stays-silent")
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    let mpirun = running.job.all.filter { pid in
      systemFile("/proc/\(pid)/cmdline").map { String(decoding: $0, as: UTF8.self).contains("mpirun") } ?? false
    }
    // Until the launcher knows that they have joined: before that, more patience is due.
    usleep(1_500_000)
    for pid in running.job.all where !mpirun.contains(pid) { kill(pid, SIGSTOP) }
    let result = running.finish(within: 30)
    #expect(result.status == 75)
    #expect(result.error.contains("no sign of life for 3 s"), "\(result.stderr)")
    #expect(running.job.all.isEmpty)
  }

  @Test("SIGQUIT shows the last collectives and goes on") func dump() throws {
    let running = try start("steps", "60")
    try #require(running.wait { running.job.programs.count == 2 })
    usleep(1_500_000)
    kill(running.child.pid, SIGQUIT)
    let result = running.finish(within: 60)
    #expect(result.status == 0)
    #expect(result.stderr.contains("rank 1 (host \(hostName), pid "))
    #expect(
      result.stderr.split(separator: "\n").count { $0.contains(": sum of 1 doubles at rankcheck/") } == 16,
      "\(result.stderr)")
  }

  @Test("what is no number of seconds is refused", arguments: ["stall_timeout", "monitor_interval"]) func refused(
    _ name: String
  ) throws {
    for text in ["-1", "x", "1e3", "nan", ""] {
      let result = try launch("-n", "2", "--\(name)=\(text)", "true")
      #expect(result.status == 64)
      #expect(
        result.stderr.split(separator: "\n").count == 1 && result.stderr.contains("--\(name)"), "\(result.stderr)")
    }
  }
}
