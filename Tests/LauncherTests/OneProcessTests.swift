import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Jobs of one process, which need no mpirun: they stop, fail and end as other jobs do.
@Suite(.serialized) struct OneProcessTests {
  static let check = FailureTests.check
  static let ways = [["-n", "1"], ["--in_process", "3"]]

  func start(_ words: [String]) throws -> Running {
    let running = try Running("\(binaries)/launch", words.map { Array($0.utf8) })
    try #require(running.wait { running.output().utf8.contains(10) })
    return running
  }

  @Test(
    "a program that looks stops after its step", arguments: ways,
    [SIGINT, SIGTERM, SIGHUP])
  func graceful(way: [String], signal: Int32) throws {
    let running = try start(way + [Self.check, "works", "20"])
    usleep(1_500_000)
    kill(running.child.pid, signal)
    let result = running.finish()
    #expect(result.status == 128 + signal)
    let lines = result.lines.filter { $0.hasPrefix("stopped after step ") }
    #expect(lines.count == (way[0] == "-n" ? 1 : 3) && Set(lines).count == 1, "\(result.text)")
    #expect(result.stderr.contains("the ranks stop after the step that they are in"), "\(result.stderr)")
    #expect(running.job.all.isEmpty)
  }

  @Test("once more ends it at once", arguments: ways) func twice(way: [String]) throws {
    let running = try start(way + [Self.check, "works", "3000"])
    usleep(4_500_000)
    kill(running.child.pid, SIGINT)
    usleep(300_000)
    kill(running.child.pid, SIGINT)
    let clock = ContinuousClock.now
    let result = running.finish()
    #expect(ContinuousClock.now - clock < .seconds(20))
    #expect(result.status == 130)
    #expect(!result.text.contains("stopped after") && !result.stderr.contains("do not stop by themselves"))
    #expect(running.job.all.isEmpty)
  }

  @Test("another program gets the signal itself, and its time; once more ends it and its helpers") func foreign() throws
  {
    let own = try start([
      "-n", "1", "--monitor_interval", "0.25", "bash", "-c",
      "trap 'sleep 2; echo bye; exit 3' INT; echo up; sleep 616 & wait",
    ])
    kill(own.child.pid, SIGINT)
    let result = own.finish()
    #expect(result.status == 130 && result.lines == ["up", "bye"], "\(result.text) \(result.stderr)")
    #expect(own.job.all.isEmpty)
    let deaf = try start([
      "-n", "1", "--monitor_interval", "0.25", "bash", "-c", "trap '' INT TERM; setsid sleep 615 & echo up; sleep 615",
    ])
    usleep(1_500_000)
    kill(deaf.child.pid, SIGTERM)
    usleep(1_500_000)
    #expect(deaf.child.end() == nil)
    kill(deaf.child.pid, SIGTERM)
    #expect(deaf.finish().status == 143)
    #expect(deaf.job.all.isEmpty)
  }

  @Test("a signal in the first moments is passed on to the program, too") func atOnce() throws {
    for _ in 0..<10 {
      let own = try start(["-n", "1", "bash", "-c", "trap 'echo bye; exit 3' TERM; echo up; sleep 614 & wait"])
      kill(own.child.pid, SIGTERM)
      let result = own.finish()
      #expect(result.status == 143 && result.lines == ["up", "bye"], "\(result.text) \(result.stderr)")
      #expect(own.job.all.isEmpty)
    }
  }

  @Test("a process that is killed is named, with its last step", arguments: ways) func killed(way: [String]) throws {
    let running = try start(way + [Self.check, "works", "20"])
    usleep(1_500_000)
    let pid = try #require(running.program)
    kill(pid, SIGKILL)
    let result = running.finish()
    #expect(result.status == 75)
    let ranks = way[0] == "-n" ? "rank 0" : "ranks 0 to 2"
    #expect(
      result.error.hasPrefix(
        "launch: error: \(ranks) (host \(hostName), pid \(pid)): ended by signal 9 (SIGKILL) after step "),
      "\(result.stderr)")
    #expect(running.job.all.isEmpty)
  }

  @Test("status 0 without a record, and a trap, are failures of a lone process too", arguments: ways) func leaves(
    way: [String]
  ) throws {
    let left = try run("\(binaries)/launch", way + [Self.check, "exits", "0"])
    #expect(left.status == 75)
    #expect(left.error.contains("ended with status 0 after step 3, before its work was done"), "\(left.stderr)")
    let trap = try run(
      "\(binaries)/launch", way + [Self.check, "traps", "0"], environment: ["SWIFT_BACKTRACE": "enable=no"])
    #expect(trap.status == 70)
    #expect(trap.error.contains("ended by signal 4 (SIGILL) after step 3"), "\(trap.stderr)")
  }

  @Test("a status of its own is passed on, and nothing is said twice") func status() throws {
    for status: Int32 in [1, 65, 75, 137] {
      let result = try launch("-n", "1", "sh", "-c", "echo mine >&2; exit \(status)")
      #expect(result.status == status)
      #expect(result.stderr == "mine\n")
    }
    let agreed = try launch("--in_process", "2", Self.check, "agree-same")
    #expect(agreed.status == 66)
    #expect(agreed.stderr == "error: no folder here\n")
  }

  @Test("kill -9 of the launcher leaves nothing") func killedLauncher() throws {
    let running = try start(["-n", "1", "sh", "-c", StopTests.stubborn])
    #expect(running.job.all.count >= 4)
    kill(running.child.pid, SIGKILL)
    #expect(running.wait { running.job.all.isEmpty }, "\(running.job.all)")
    _ = running.finish()
  }

  @Test("kill -9 of the agent") func killedAgent() throws {
    let running = try start(["-n", "1", Self.check, "works", "20"])
    let agent = try #require(running.job.all.first { $0 != running.program })
    kill(agent, SIGKILL)
    let result = running.finish()
    #expect(result.status == 75)
    #expect(result.error.contains("the agent of rank 0 (host \(hostName), pid "), "\(result.stderr)")
    #expect(running.job.all.isEmpty)
  }

  @Test("input and output are the launcher's own") func descriptors() throws {
    let result = try run(
      "/bin/bash",
      [
        "-c",
        """
        echo abc | \(binaries)/launch -n 1 sh -c 'cat; readlink /proc/self/fd/1 /proc/$PPID/fd/1; ls /proc/self/fd | wc -l'
        \(binaries)/launch -n 1 seq 1000000 | head -1; echo ${PIPESTATUS[0]}
        """,
      ])
    try #require(result.lines.count > 4, "\(result.text) \(result.stderr)")
    #expect(result.lines[0] == "abc")
    #expect(result.lines[1] == result.lines[2], "\(result.text)")
    // Nobody reads.
    #expect(Array(result.lines.suffix(2)) == ["1", "74"], "\(result.text)")
    #expect(result.error.contains("ended by signal 13 (SIGPIPE): nobody reads what it writes"), "\(result.stderr)")
  }

  @Test("labels and files, where asked for") func output() throws {
    let folder = try temporaryFolder()
    defer { for name in names(in: folder) { unlink("\(folder)/\(name)") }; rmdir(folder) }
    let result = try launch("-n", "1", "--tee", "--log_dir", folder, "sh", "-c", "echo out; echo err >&2")
    #expect(result.text == "[0 \(hostName)] out\n")
    #expect(result.stderr == "[0 \(hostName)] err\n")
    #expect(try readBytes("\(folder)/rank-0.out") == Array("out\n".utf8))
    #expect(try readBytes("\(folder)/rank-0.err") == Array("err\n".utf8))
  }

  @Test("it is started again after it was lost") func restart() throws {
    let result = try launch("-n", "1", "--max_restarts", "1", "sh", "-c", "echo try; kill -9 $$")
    #expect(result.status == 75 && result.lines == ["try", "try"])
    #expect(result.stderr.contains("restart 1 of 1 in 1 s"))
  }

  @Test(
    "Ctrl-C on a terminal",
    .needs(.terminal))
  func terminal() throws {
    let folder = try temporaryFolder()
    defer { unlink("\(folder)/out"); rmdir(folder) }
    let script = """
      shows() { for i in $(seq 300); do grep -q "$1" \(folder)/out && return; sleep 0.1; done; }
      (shows works; sleep 1.5; printf '\\003'; shows stopped) \
        | script -fqec '\(binaries)/launch -n 1 --monitor_interval 0.25 \(Self.check) works 20' \(folder)/out
      echo ${PIPESTATUS[1]}
      """
    let result = try run("/bin/bash", ["-c", script])
    #expect(result.text.contains("stopped after step "), "\(result.text)")
    #expect(result.text.utf8.reversed().starts(with: "\n130\n".utf8.reversed()), "\(result.text)")
  }
}

/// Ranks that a stand-in for Slurm's `srun` starts: each alone, for it gives them no PMIx.
@Suite(.serialized) struct SrunJobTests {
  /// Starts tasks, passes SIGTERM and SIGUSR1 on to them, and ends all when one fails, as Slurm does when told to.
  static let srun = """
    #!/bin/bash
    while [[ $1 != -- ]]; do [[ $1 != --ntasks=* ]] || n=${1#*=}; shift; done
    shift
    for ((i = 0; i < n; i++)); do SLURM_PROCID=$i setsid "$@" & pids+=($!); done
    for signal in TERM USR1; do trap "kill -$signal \\${pids[*]} 2>/dev/null" $signal; done
    while ((n)); do
      unset ended
      wait -n -p ended "${pids[@]}"
      end=$?
      [[ -n ${ended-} ]] || continue
      n=$((n - 1))
      pids=($(printf '%s\\n' "${pids[@]}" | grep -vx "$ended"))
      ((end == 0 || status)) || { status=$end; kill -TERM "${pids[@]}" 2>/dev/null; }
    done
    exit $((status))

    """

  /// Runs `body` with a job that has said two lines.
  func withJob(_ words: [String], _ body: (Running) throws -> Void) throws {
    let folder = try temporaryFolder()
    defer {
      unlink("\(folder)/srun")
      rmdir(folder)
    }
    try writeAtomically(Array(Self.srun.utf8), to: "\(folder)/srun")
    chmod("\(folder)/srun", 0o755)
    let running = try Running(
      "\(binaries)/launch", (["--launcher", "srun"] + words).map { Array($0.utf8) },
      environment: [
        "PATH": "\(folder):/usr/bin:/bin", "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": hostName,
        "SLURM_TASKS_PER_NODE": "2",
      ])
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    try body(running)
    #expect(running.wait { running.job.all.isEmpty }, "\(running.job.all)")
  }

  @Test("ranks that look stop after a step", arguments: [SIGINT, SIGTERM]) func graceful(signal: Int32) throws {
    try withJob([FailureTests.check, "works", "20"]) { running in
      usleep(1_500_000)
      kill(running.child.pid, signal)
      let result = running.finish()
      #expect(result.status == 128 + signal)
      #expect(result.lines.count { $0.hasPrefix("stopped after step ") } == 2, "\(result.text) \(result.stderr)")
    }
  }

  @Test("other programs are ended, and at once if asked again", arguments: [1, 2]) func ended(times: Int) throws {
    let trap = times == 1 ? "" : "trap '' TERM;"
    try withJob(["bash", "-c", "\(trap) echo up; sleep 617 & wait; sleep 617"]) { running in
      let clock = ContinuousClock.now
      kill(running.child.pid, SIGINT)
      if times == 2 {
        usleep(300_000)
        kill(running.child.pid, SIGINT)
      }
      let result = running.finish()
      #expect(result.status == 130)
      #expect(ContinuousClock.now - clock < .seconds(20))
    }
  }

  @Test("a rank that is killed is named") func killed() throws {
    try withJob([FailureTests.check, "works", "20"]) { running in
      usleep(1_500_000)
      let pid = try #require(running.programs.first { running.variable("SLURM_PROCID", of: $0) == "1" })
      kill(pid, SIGKILL)
      let result = running.finish()
      #expect(result.status == 75)
      #expect(
        result.error.hasPrefix(
          "launch: error: rank 1 (host \(hostName), pid \(pid)): ended by signal 9 (SIGKILL) after step "),
        "\(result.stderr)")
    }
  }

  @Test("a rank's own status, and labels") func status() throws {
    try withJob(["--tee", "bash", "-c", "echo up; [ $SLURM_PROCID = 0 ] || exit 65; sleep 618"]) { running in
      let result = running.finish()
      #expect(result.status == 65)
      #expect(result.lines.sorted() == ["[0 \(hostName)] up", "[1 \(hostName)] up"])
      #expect(result.error.contains("rank 1 (host \(hostName), pid "), "\(result.stderr)")
    }
  }

  @Test("kill -9 of the launcher or of srun leaves nothing", arguments: [true, false]) func orphans(
    isLauncher: Bool
  ) throws {
    try withJob(["sh", "-c", StopTests.stubborn]) { running in
      let srun = try #require(running.job.all.first { running.commandLine(of: $0).contains("--ntasks=2") })
      kill(isLauncher ? running.child.pid : srun, SIGKILL)
      let result = running.finish()
      #expect(result.status == (isLauncher ? 137 : 75))
      if !isLauncher { #expect(result.error.contains("srun itself was ended by signal 9"), "\(result.stderr)") }
    }
  }
}

extension Running {
  func commandLine(of pid: pid_t) -> [String] {
    (systemFile("/proc/\(pid)/cmdline") ?? []).split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The processes of the job that are neither agents nor what starts them.
  var programs: [pid_t] {
    job.all.filter { pid in
      let words = commandLine(of: pid)
      return !words.contains("--rank-agent") && !words.contains("--ntasks=2")
    }
  }

  var program: pid_t? { programs.first }

  func variable(_ name: String, of pid: pid_t) -> String? {
    (systemFile("/proc/\(pid)/environ") ?? []).split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      .first { $0.hasPrefix("\(name)=") }.map { String($0.dropFirst(name.count + 1)) }
  }
}
