import Glibc
import Launcher
import System
import TestSupport
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

  @Test("ranks that look stop together, after a step", arguments: [SIGINT, SIGTERM, SIGHUP]) func graceful(
    signal: Int32
  ) throws {
    let running = try start([Self.check, "works", "20"])
    usleep(1_500_000)
    kill(running.child.pid, signal)
    let result = running.finish()
    #expect(result.status == 128 + signal)
    let lines = result.lines.filter { $0.hasPrefix("stopped after step ") }
    #expect(lines.count == 2 && Set(lines).count == 1, "\(result.text)")
    #expect(result.stderr.contains("the ranks stop after the step that they are in"))
    #expect(result.left == [])
  }

  @Test("finetune says where it stopped") func finetune() throws {
    let running = try Running(
      "\(binaries)/launch", ["-n", "2", "\(binaries)/finetune"].map { Array($0.utf8) })
    try #require(running.wait { running.output().contains("step     1/") })
    usleep(1_500_000)
    kill(running.child.pid, SIGINT)
    let result = running.finish()
    #expect(result.status == 130)
    #expect(
      result.text.contains("stopped after step ") && result.text.hasSuffix(", as asked; nothing is saved\n"),
      "\(result.text)")
  }

  @Test("once more, or twice more, ends them at once", arguments: [2, 3]) func again(times: Int) throws {
    // In its second step, which takes long: after the first it has told that it looks.
    let running = try start([Self.check, "works", "3000"])
    usleep(4_500_000)
    let clock = ContinuousClock.now
    for _ in 0..<times {
      kill(running.child.pid, SIGINT)
      usleep(300_000)
    }
    let result = running.finish()
    #expect(ContinuousClock.now - clock < .seconds(20))
    #expect(result.status == 130)
    #expect(!result.text.contains("stopped after") && !result.stderr.contains("do not stop by themselves"))
    #expect(result.left == [])
  }

  @Test("ranks that do not get to their next step are ended") func stuck() throws {
    let running = try start([Self.check, "works", "20"])
    usleep(1_500_000)
    let pid = try #require(running.job.programs[1])
    let clock = ContinuousClock.now
    kill(pid, SIGSTOP)
    kill(running.child.pid, SIGTERM)
    let result = running.finish()
    #expect(result.status == 143)
    #expect(ContinuousClock.now - clock < .seconds(40))
    #expect(running.job.all.isEmpty)
  }

  @Test("Ctrl-Z stops all, and going on works") func pause() throws {
    let running = try start(["--stall_timeout", "2", Self.check, "works", "20"])
    usleep(1_200_000)
    kill(running.child.pid, SIGTSTP)
    let pid = try #require(running.job.programs[1])
    func isStopped(_ pid: pid_t) -> Bool { systemText("/proc/\(pid)/stat")?.contains(") T ") ?? false }
    #expect(running.wait { isStopped(running.child.pid) && isStopped(pid) })
    usleep(4_000_000)
    kill(running.child.pid, SIGCONT)
    usleep(1_500_000)
    #expect(!isStopped(pid))
    kill(running.child.pid, SIGINT)
    let result = running.finish()
    #expect(result.status == 130)
    #expect(!result.stderr.contains("stands still"), "\(result.stderr)")
  }

  @Test("a closed terminal stops the ranks after a step", .needs(.terminal, .program("python3")))
  func closedTerminal() throws {
    let script = """
      import os, pty, sys, time
      pid, terminal = pty.fork()
      if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
      text = b""
      while text.count(b"works") < 2: text += os.read(terminal, 4096)
      time.sleep(1.5)
      os.close(terminal)
      start = time.time()
      status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
      print(pid, status, time.time() - start < 30)
      """
    let result = try run(
      "/usr/bin/env", ["python3", "-c", script, "\(binaries)/launch", "-n", "2", Self.check, "works", "20"])
    let words = result.text.split { $0 == " " || $0 == "\n" }.map(String.init)
    try #require(words.count == 3, "\(result.text) \(result.stderr)")
    // 74: what the ranks say as they stop cannot be written any more.
    #expect(["129", "74"].contains(words[1]) && words[2] == "True", "\(result.text) \(result.stderr)")
    let mark = Array("-\(words[0])".utf8)
    let left = names(in: "/proc").filter { name in
      (systemFile("/proc/\(name)/environ") ?? []).split(separator: 0).contains { entry in
        entry.starts(with: "LOCKSTEP_RUN_ID=".utf8) && entry.suffix(mark.count).elementsEqual(mark)
      }
    }
    #expect(left == [])
  }

  @Test("kill -9 of the launcher leaves nothing, helpers in sessions of their own included") func killedLauncher()
    throws
  {
    let running = try start(["sh", "-c", Self.stubborn])
    let names = try #require(running.jobNames)
    #expect(running.job.all.count >= 7)
    kill(running.child.pid, SIGKILL)
    #expect(running.wait { running.job.all.isEmpty }, "\(running.job.all)")
    #expect(running.wait { running.remains(names) == [] }, "\(running.remains(names))")
    _ = running.finish()
  }

  @Test("kill -9 of the launcher leaves nothing while the ranks write without end") func killedLauncherOfWriters()
    throws
  {
    let running = try Running("\(binaries)/launch", ["-n", "2", "yes"].map { Array($0.utf8) })
    #expect(running.wait { running.job.programs.count == 2 && !running.output().isEmpty })
    kill(running.child.pid, SIGKILL)
    #expect(running.wait { running.job.all.isEmpty }, "\(running.job.all)")
    _ = running.finish()
  }

  @Test("kill -9 of mpirun leaves neither processes nor shared memory", arguments: [true, false]) func killedMPIRun(
    usesMPI: Bool
  ) throws {
    let running = try start(usesMPI ? [Self.check, "works", "20"] : ["sh", "-c", Self.stubborn])
    _ = running.wait { running.jobNames.map { !running.remains($0).isEmpty } ?? false }
    let names = try #require(running.jobNames)
    #expect(!running.remains(names).isEmpty)
    let mpirun = running.job.all.first { pid in
      let words = (systemFile("/proc/\(pid)/cmdline") ?? []).split(separator: 0).map {
        String(decoding: $0, as: UTF8.self)
      }
      return words.first?.hasSuffix("mpirun") ?? false
    }
    kill(try #require(mpirun), SIGKILL)
    let result = running.finish()
    #expect(result.status == 75)
    #expect(result.error.contains("mpirun itself was ended by signal 9 (SIGKILL)"))
    #expect(running.job.all.isEmpty)
    #expect(running.remains(names) == [])
  }

  /// What a rank leaves behind: by a name that nothing else has.
  static let helpers = [
    ("ignores SIGTERM", "sh -c 'trap \"\" TERM; sleep 6127' &"),
    ("has a session of its own", "setsid sh -c 'sleep 6127' &"),
    ("both, and has lost its environment", "env -i setsid sh -c 'trap \"\" TERM; sleep 6127' &"),
    ("is the child of a child that has ended", "(env -i setsid sh -c 'sleep 6127' & exit 0) &"),
    ("holds no output", "setsid sh -c 'trap \"\" TERM; sleep 6127' >/dev/null 2>&1 </dev/null &"),
  ]

  @Test("a helper that outlives its rank is ended", arguments: helpers, ["sleep 1", "sleep 1; kill -9 $$"])
  func helper(_ helper: (String, String), end: String) throws {
    let result = try launch("-n", "2", "sh", "-c", "\(helper.1) \(end)")
    #expect(result.status == (end == "sleep 1" ? 0 : 75))
    #expect(result.seconds < 40)
    // Without their environment they could be found by nothing but their descent.
    #expect(Self.sleepers == [])
    #expect(result.left == [])
  }

  static var sleepers: [String] {
    names(in: "/proc").filter { systemFile("/proc/\($0)/cmdline")?.elementsEqual("sleep\06127\0".utf8) ?? false }
  }

  @Test(
    "output that cannot be written ends the job with 74; it is in a file anyway",
    arguments: [
      (">/dev/full", "No space left on device"), ("2>&1 | head -1", ""), ("| head -1", "Broken pipe"),
    ]) func unwritable(redirection: String, says: String) throws
  {
    let folder = try temporaryFolder()
    defer { for name in names(in: folder) { unlink("\(folder)/\(name)") }; rmdir(folder) }
    let script = """
      \(binaries)/launch -n 2 --log_dir \(folder) sh -c 'while :; do echo line; sleep 0.05; done' \(redirection)
      echo ${PIPESTATUS[0]}
      """
    let result = try run("/bin/bash", ["-c", script])
    #expect(result.lines.last == "74", "\(result.text) \(result.stderr)")
    if !says.isEmpty {
      #expect(
        result.error.hasPrefix("launch: error: standard output: the ranks' output cannot be written: \(says);"),
        "\(result.stderr)")
    }
    #expect(result.seconds < 40)
    for rank in 0..<2 { #expect(try readBytes("\(folder)/rank-\(rank).out").starts(with: Array("line\n".utf8))) }
  }

  @Test("with an output closed nothing starts", arguments: [">&-", "2>&-"]) func closedOutput(redirection: String)
    throws
  {
    let folder = try temporaryFolder()
    defer { for name in names(in: folder) { unlink("\(folder)/\(name)") }; rmdir(folder) }
    let result = try run("/bin/sh", ["-c", "exec \(binaries)/launch -n 2 touch \(folder)/mark \(redirection)"])
    #expect(result.status == 74)
    if redirection == ">&-" {
      #expect(result.stderr == "launch: error: stdout or stderr is closed, expected both open\n")
    }
    #expect(names(in: folder) == [])
  }

  static let starts: [(String, String)] = [
    ("SIGINT and SIGCHLD ignored", "trap '' INT CHLD;"), ("nohup", "nohup"),
    ("a thousand open files", "ulimit -n 4096; for i in $(seq 10 1010); do eval \"exec $i</dev/null\"; done;"),
    ("standard input closed", "exec <&-;"),
    (
      "SIGTERM blocked",
      "blocked() { python3 -c 'import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); os.execv(sys.argv[1], sys.argv[1:])' \"$@\"; }; blocked"
    ),
    (
      "standard input a terminal that is gone, in the background",
      "gone() { python3 -c 'import os, pty, sys; m, s = pty.openpty(); os.dup2(s, 0); os.close(s); os.close(m); os.setpgid(0, 0); os.execv(sys.argv[1], sys.argv[1:])' \"$@\"; }; gone"
    ),
  ]

  @Test("an odd start makes no difference", .needs(.program("pgrep"), .program("python3")), arguments: starts)
  func oddStart(name: String, prefix: String) throws {
    let script: String = "\(prefix) \(binaries)/launch -n 2 "
    let result = try run("/bin/bash", ["-c", script + Self.check + " steps 3"])
    #expect(result.status == 0, "\(result.stderr)")
    let folder = try temporaryFolder()
    defer { unlink("\(folder)/up"); rmdir(folder) }
    let background = """
      sh -c 'echo up; sleep 600' >\(folder)/up &
      until [ $(grep -c up \(folder)/up) = 2 ]; do sleep 0.1; done
      kill -TERM $(pgrep -P $$ -x launch || pgrep -P $! -x launch || echo $!); wait $!; echo $?
      """
    let stopped = try run("/bin/bash", ["-c", script + background])
    #expect(stopped.lines.last == "143", "\(stopped.text) \(stopped.stderr)")
    // mpirun heard it.
    #expect(!stopped.stderr.contains("killing the job"), "\(stopped.stderr)")
  }

  @Test("several at once, and many in a row, leave nothing") func many() throws {
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
      let result = running.finish()
      #expect(result.status == 75, "\(result.stderr)")
      #expect(running.wait { running.job.all.isEmpty })
      if let names { #expect(running.remains(names) == []) }
    }
  }
}
