import Glibc
import Launcher
import System
import TestSupport
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

  @Test("a stopped rank is named, not those that wait for it", arguments: [0, 2]) func stopped(rank: Int) throws {
    let running = try start("works", "5", ranks: 3)
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 3 })
    usleep(800_000)
    let pid = try #require(running.job.programs[rank])
    kill(pid, SIGSTOP)
    let clock = ContinuousClock.now
    let result = running.finish()
    #expect(ContinuousClock.now - clock < .seconds(20))
    result.expect(75, rank: rank, says: ", pid \(pid)): stopped (state T), last seen")
    #expect(result.error.contains("and 2 ranks wait in call ") && result.error.contains("at rankcheck/Faults.swift:"))
    #expect(result.stderr.contains("waits in call"))
  }

  @Test("a pause, a slow rank and one that computes for long are no stall") func noFalseAlarm() throws {
    let running = try start("steps", "120")
    try #require(running.wait { running.job.programs.count == 2 })
    usleep(700_000)
    let pid = try #require(running.job.programs[1])
    #expect(kill(pid, SIGSTOP) == 0)
    usleep(2_000_000)
    #expect(kill(pid, SIGCONT) == 0, "it had ended before")
    let result = running.finish()
    #expect(result.status == 0)
    #expect(result.stderr.isEmpty, "\(result.stderr)")
    #expect(result.left == [])
    let busy = try start("computes", "6", timeout: "2").finish()
    #expect(busy.status == 0 && busy.lines == ["true", "true"], "\(busy.stderr)")
  }

  /// The digest of the weights that two ranks save, the first started by `prefix`; `disturb` gets the processes of the
  /// ranks, once they train, and the launcher's.
  func train(_ prefix: String = "", disturb: (Running, [Int: pid_t]) -> Void = { _, _ in }) throws -> String {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let golden = "\(packageFolder)/Tests/Golden"
    let script = """
      [ $OMPI_COMM_WORLD_RANK = 1 ] || set -- \(prefix)
      exec "$@" \(binaries)/finetune --model \(golden)/tiny-bert --data \(golden)/mrpc --epochs 60 --output-dir \(folder)
      """
    let running = try Running(
      "\(binaries)/launch", ["-n", "2", "--stall_timeout", "5", "sh", "-c", script].map { Array($0.utf8) })
    try #require(running.wait { running.output().contains("step ") && running.job.programs.count == 2 })
    disturb(running, running.job.programs)
    let result = running.finish(within: 120)
    #expect(result.status == 0, "\(result.stderr)")
    #expect(result.stderr.isEmpty, "\(result.stderr)")
    #expect(result.left == [])
    let sum = try run("/usr/bin/sha256sum", ["\(folder)/model.safetensors"])
    return String(try #require(sum.text.split(separator: " ").first))
  }

  @Test(
    "a pause, a slow fsync and a slow rank change no bit",
    .needs(.tracing))
  func sameBits() throws {
    let plain = try train()
    let paused = try train { _, programs in
      for pid in programs.values.prefix(1) {
        kill(pid, SIGSTOP)
        usleep(2_000_000)
        kill(pid, SIGCONT)
      }
    }
    #expect(paused == plain)
    let trace = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", trace]) }
    let delayed = try train("strace -f -o \(trace)/t -e trace=fsync -e inject=fsync:delay_enter=3000000:when=1")
    #expect(delayed == plain)
    #expect(systemText("\(trace)/t")?.contains("DELAYED") == true, "no fsync was delayed")
    let slow = try train { running, programs in
      // One part in five of the time.
      guard let pid = programs[1] else { return }
      for _ in 0..<100 where kill(pid, SIGSTOP) == 0 {
        usleep(40_000)
        kill(pid, SIGCONT)
        usleep(10_000)
      }
    }
    #expect(slow == plain)
  }

  @Test("a rank that never starts is named") func neverStarts() throws {
    let running = try Running(
      "\(binaries)/launch", ["-n", "2", "--stall_timeout", "3", Self.check, "steps", "2"].map { Array($0.utf8) },
      environment: ["NEVER_STARTS": "1"])
    let result = running.finish()
    result.expect(75, rank: 1, says: "did not start, while 1 rank waits for it")
    #expect(result.seconds > 29 && result.seconds < 70)
  }

  @Test(
    "a rank that skips a collective is named; the last 64 collectives of each are shown and kept",
    arguments: [(6, 6), (100, 64)])
  func skips(rounds: Int, shown: Int) throws {
    let folder = try temporaryFolder()
    defer { for name in names(in: folder) { unlink("\(folder)/\(name)") }; rmdir(folder) }
    let result = try launch(
      "-n", "3", "--stall_timeout", "2", "--log_dir", folder, Self.check, "skips", "\(rounds)")
    result.expect(
      76, rank: 1,
      says: "at call \(rounds), the end of the job at MPI_Finalize; the others at call \(rounds), barrier at")
    let kept = String(decoding: try readBytes("\(folder)/collectives.txt"), as: UTF8.self).split(separator: "\n")
    #expect(kept.count { $0.hasPrefix("  call ") } == 3 * shown, "\(kept)")
  }

  @Test("a rank that stays away from a collective, asleep, is named") func staysAway() throws {
    let result = try start("stays-away", "1", ranks: 3).finish()
    result.expect(75, rank: 1, says: "not in the collective, last seen leaving call 3")
    #expect(result.error.contains("and 2 ranks wait in call 4, barrier at rankcheck/Faults.swift:"))
  }

  @Test("ranks of which no sign of life comes end the job") func silent() throws {
    let running = try start("stays-silent")
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    let mpirun = running.job.all.filter { pid in
      systemFile("/proc/\(pid)/cmdline").map { String(decoding: $0, as: UTF8.self).contains("mpirun") } ?? false
    }
    // Until the launcher knows that they have joined: before that, more patience is due.
    usleep(1_500_000)
    for pid in running.job.all where !mpirun.contains(pid) { kill(pid, SIGSTOP) }
    let clock = ContinuousClock.now
    let result = running.finish()
    #expect(ContinuousClock.now - clock < .seconds(20))
    result.expect(75, rank: 0, says: "no sign of life for 3 s")
  }

  @Test("SIGQUIT shows the last collectives and goes on") func dump() throws {
    let running = try start("works", "20")
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    // Eight calls of each, at two a step.
    usleep(1_500_000)
    kill(running.child.pid, SIGQUIT)
    func shown() -> Int {
      running.output("stderr").split(separator: "\n").count { $0.contains(": sum of 1 doubles at rankcheck/") }
    }
    #expect(running.wait { shown() >= 16 }, "\(running.output("stderr"))")
    kill(running.child.pid, SIGTERM)
    let result = running.finish()
    #expect(result.status == 143 && result.lines.count { $0.hasPrefix("stopped after step ") } == 2, "\(result.stderr)")
    #expect(result.stderr.contains("rank 1 (host \(hostName), pid "))
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
