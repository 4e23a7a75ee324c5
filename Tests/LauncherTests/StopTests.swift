import FileSystem
import Glibc
import Launcher
import Testing

/// Signals to the launcher, and the death of what holds a job together.
@Suite(.serialized) struct StopTests {
  static let check = FailureTests.check
  /// A rank that says that it is there and leaves a helper that hears no SIGTERM, in a session of its own.
  static let stubborn = "setsid sh -c 'trap \"\" TERM HUP INT; sleep 600' & echo up; sleep 600 & wait"

  func start(_ words: [String], environment: [String: String?] = [:]) throws -> Running {
    let running = try Running(
      "\(binaries)/launch", (["-n", "2"] + words).map { Array($0.utf8) }, environment: environment)
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    return running
  }

  @Test("L1: ranks that look stop together, after a step", arguments: [SIGINT, SIGTERM, SIGHUP]) func graceful(
    signal: Int32
  ) throws {
    let running = try start([Self.check, "works", "20"])
    usleep(1_500_000)
    kill(running.child.pid, signal)
    let result = running.finish(within: 20)
    #expect(result.status == 128 + signal)
    let lines = result.lines.filter { $0.hasPrefix("stopped after step ") }
    #expect(lines.count == 2 && lines[0] == lines[1], "\(result.text)")
    #expect(result.stderr.contains("the ranks stop after the step that they are in"))
    #expect(running.job.all.isEmpty)
  }

  @Test("L1: finetune says where it stopped") func finetune() throws {
    let running = try Running(
      "\(binaries)/launch", ["-n", "2", "\(binaries)/finetune"].map { Array($0.utf8) })
    try #require(running.wait { running.output().contains("step     1/") })
    usleep(1_500_000)
    kill(running.child.pid, SIGINT)
    let result = running.finish(within: 30)
    #expect(result.status == 130)
    #expect(
      result.text.contains("stopped after step ") && result.text.hasSuffix(", as asked; nothing is saved\n"),
      "\(result.text)")
  }

  @Test("L2: once more ends them at once") func twice() throws {
    // In its second step, which takes long: after the first it has told that it looks.
    let running = try start([Self.check, "works", "3000"])
    usleep(4_500_000)
    kill(running.child.pid, SIGINT)
    usleep(300_000)
    kill(running.child.pid, SIGINT)
    let clock = ContinuousClock.now
    let result = running.finish(within: 20)
    #expect(ContinuousClock.now - clock < .seconds(5))
    #expect(result.status == 130)
    #expect(!result.text.contains("stopped after"))
    #expect(running.job.all.isEmpty)
  }

  @Test("L1: ranks that do not get to their next step are ended") func stuck() throws {
    let running = try start([Self.check, "works", "20"])
    usleep(1_500_000)
    let pid = try #require(running.job.programs[1])
    let clock = ContinuousClock.now
    kill(pid, SIGSTOP)
    kill(running.child.pid, SIGTERM)
    let result = running.finish(within: 40)
    #expect(result.status == 143)
    #expect(ContinuousClock.now - clock < .seconds(20))
    #expect(running.job.all.isEmpty)
  }

  @Test("L3: Ctrl-Z stops all, and going on works") func pause() throws {
    let running = try start(["--stall_timeout", "2", Self.check, "works", "20"])
    usleep(1_200_000)
    kill(running.child.pid, SIGTSTP)
    let pid = try #require(running.job.programs[1])
    func isStopped(_ pid: pid_t) -> Bool { systemText("/proc/\(pid)/stat")?.contains(") T ") ?? false }
    #expect(running.wait(seconds: 5) { isStopped(running.child.pid) && isStopped(pid) })
    usleep(4_000_000)
    kill(running.child.pid, SIGCONT)
    usleep(1_500_000)
    #expect(!isStopped(pid))
    kill(running.child.pid, SIGINT)
    let result = running.finish(within: 20)
    #expect(result.status == 130)
    #expect(!result.stderr.contains("stands still"), "\(result.stderr)")
  }

  @Test("L4: kill -9 of the launcher leaves nothing, helpers in sessions of their own included") func killedLauncher()
    throws
  {
    let running = try start(["sh", "-c", Self.stubborn])
    let names = try #require(running.jobNames)
    #expect(running.job.all.count >= 7)
    kill(running.child.pid, SIGKILL)
    #expect(running.wait(seconds: 10) { running.job.all.isEmpty }, "\(running.job.all)")
    #expect(running.wait(seconds: 5) { running.remains(names) == [] }, "\(running.remains(names))")
    _ = running.finish()
  }

  @Test("L4: also while the ranks write without end") func killedLauncherOfWriters() throws {
    let running = try Running("\(binaries)/launch", ["-n", "2", "yes"].map { Array($0.utf8) })
    #expect(running.wait { running.job.programs.count == 2 && !running.output().isEmpty })
    kill(running.child.pid, SIGKILL)
    #expect(running.wait(seconds: 10) { running.job.all.isEmpty }, "\(running.job.all)")
    _ = running.finish()
  }

  @Test("L5: kill -9 of mpirun leaves neither processes nor shared memory", arguments: [true, false]) func killedMPIRun(
    usesMPI: Bool
  ) throws {
    let running = try start(usesMPI ? [Self.check, "works", "20"] : ["sh", "-c", Self.stubborn])
    usleep(1_000_000)
    let names = try #require(running.jobNames)
    #expect(!running.remains(names).isEmpty)
    let mpirun = running.job.all.first { pid in
      let words = (systemFile("/proc/\(pid)/cmdline") ?? []).split(separator: 0).map {
        String(decoding: $0, as: UTF8.self)
      }
      return words.first?.hasSuffix("mpirun") ?? false
    }
    kill(try #require(mpirun), SIGKILL)
    let result = running.finish(within: 10)
    #expect(result.status == 75)
    #expect(result.error.contains("mpirun itself was ended by signal 9 (SIGKILL)"))
    #expect(running.job.all.isEmpty)
    #expect(running.remains(names) == [])
  }

  @Test("P9: helpers that ignore SIGTERM or hide in a session end with their rank") func helpers() throws {
    let running = try Running(
      "\(binaries)/launch",
      ["-n", "2", "env", "-i", "sh", "-c", "setsid sh -c 'trap \"\" TERM; sleep 612' & echo up"].map { Array($0.utf8) })
    let result = running.finish(within: 20)
    #expect(result.status == 0)
    #expect(result.seconds < 8)
    // Without their environment they could be found by nothing but their descent.
    let left = names(in: "/proc").filter { name in
      systemFile("/proc/\(name)/cmdline")?.elementsEqual("sleep\0612\0".utf8) ?? false
    }
    #expect(left == [])
  }

  @Test("L6: output that cannot be written ends the job with 74") func fullDevice() throws {
    let script = "exec \(binaries)/launch -n 2 sh -c 'while :; do echo line; sleep 0.05; done' "
    let full = try run("/bin/sh", ["-c", script + ">/dev/full"])
    #expect(full.status == 74)
    #expect(
      full.error.contains("standard output: the ranks' output cannot be written: No space left on device"),
      "\(full.stderr)")
    #expect(full.seconds < 8)
    let closed = try run(
      "/bin/bash",
      [
        "-c",
        "set -o pipefail; \(binaries)/launch -n 2 sh -c 'while :; do echo line; sleep 0.05; done' | head -1; echo ${PIPESTATUS[0]}",
      ])
    #expect(closed.lines.last == "74", "\(closed.text) \(closed.stderr)")
    #expect(try run("/bin/sh", ["-c", script + ">&-"]).status == 74)
    #expect(try run("/bin/sh", ["-c", script + "2>&-"]).status == 74)
  }

  @Test("L7: an odd start makes no difference", arguments: [0, 1, 2, 3]) func oddStart(which: Int) throws {
    let prefix = [
      "trap '' INT CHLD;", "ulimit -n 4096; for i in $(seq 10 900); do eval \"exec $i</dev/null\"; done;", "exec <&-;",
      "nohup",
    ][which]
    let script: String = "\(prefix) \(binaries)/launch -n 2 "
    let result = try run("/bin/bash", ["-c", script + Self.check + " steps 3"])
    #expect(result.status == 0, "\(result.stderr)")
    let background = "sh -c 'echo up; sleep 600' & sleep 2; kill -TERM $!; wait $!; echo $?"
    let stopped = try run("/bin/bash", ["-c", script + background])
    #expect(stopped.lines.last == "143", "\(stopped.text) \(stopped.stderr)")
  }

  @Test("L12: several at once, and many in a row, leave nothing") func many() throws {
    let isLong = getenv("LOCKSTEP_SLOW") != nil
    let together = try (0..<4).map { _ in
      try Running("\(binaries)/launch", ["-n", "2", Self.check, "steps", "20"].map { Array($0.utf8) })
    }
    for running in together {
      #expect(running.finish().status == 0)
      #expect(running.job.all.isEmpty)
    }
    for _ in 0..<(isLong ? 100 : 5) { #expect(try launch("-n", "2", Self.check, "steps", "2").status == 0) }
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<(isLong ? 50 : 3) {
      let running = try start([Self.check, "works", "5"])
      usleep(UInt32.random(in: 0..<1_500_000, using: &generator))
      let names = running.jobNames
      let victim = running.job.all.randomElement(using: &generator) ?? running.child.pid
      kill(victim, SIGKILL)
      let result = running.finish(within: 20)
      #expect(result.status == 75, "\(result.stderr)")
      #expect(running.wait(seconds: 5) { running.job.all.isEmpty })
      if let names { #expect(running.remains(names) == []) }
    }
  }
}
