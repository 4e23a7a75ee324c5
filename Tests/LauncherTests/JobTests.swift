import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Jobs under real mpirun. One at a time: they are timed, and they count processes.
@Suite(.serialized) struct JobTests {
  /// A rank that says its pid and the job's id, then sleeps.
  static let sleeper = "echo pid=$$ run=$LOCKSTEP_RUN_ID; sleep 600 & wait"

  @Test(arguments: [0, 1, 7, 65, 75, 127, 200]) func statusIsTheProgramsOwn(_ status: Int32) throws {
    let result = try launch("--num_processes", "2", "/bin/sh", "-c", "exit \(status)")
    #expect(result.status == status)
    let lines = result.stderr.split(separator: "\n")
    #expect(lines.count == (status == 0 ? 0 : 1), "\(result.stderr)")
    #expect(lines.allSatisfy { $0.hasPrefix("launch: error: rank ") && $0.contains("ended with status \(status);") })
  }

  @Test("one rank fails and one lives: the job ends with its status") func oneRankFailsAndOneLives() throws {
    let result = try launch(
      "-n", "2", "sh", "-c", "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then echo mine >&2; exit 9; fi; sleep 600")
    #expect(result.status == 9)
    #expect(result.stderr.hasPrefix("mine\nlaunch: error: rank 1 (host "), "\(result.stderr)")
    #expect(result.seconds < 40)
  }

  @Test("a machine without /sys is none that needs words", .needs(.mounts)) func withoutSys() throws {
    let script = "umount -l /sys 2>/dev/null; [ ! -e /sys/devices ] && exec \(binaries)/launch -n 2 true"
    let result = try run("/usr/bin/env", ["unshare", "--mount", "sh", "-c", script])
    #expect(result.status == 0 && result.stderr.isEmpty, "\(result.stderr)")
  }

  @Test func everyRankRuns() throws {
    let result = try launch("-n", "3", "sh", "-c", "echo $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE")
    #expect(result.lines.sorted() == ["0 of 3", "1 of 3", "2 of 3"])
    #expect(result.status == 0)
  }

  @Test(
    "a program without the library that is killed is a failure, with the status of its signal",
    arguments: [("KILL", 75), ("SEGV", 70), ("ILL", 70)])
  func rankEndedBySignal(_ signal: String, _ status: Int32)
    throws
  {
    let result = try launch(
      "-n", "2", "sh", "-c", "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then kill -\(signal) $$; fi; sleep 600")
    #expect(result.status == status)
    #expect(result.stderr.contains("SIG\(signal)"))
    #expect(result.stderr.utf8.filter { $0 == 10 }.count == 1, "expected one line, got: \(result.stderr)")
  }

  @Test("arguments of any bytes pass as they are") func argumentsPassByteForByte() throws {
    let odd: [[UInt8]] =
      ["a b", "it's \"q\"", "$(x) `y` ${z}", "a\nb", "-n", "--help", "", "ÄÖ€", "*", "\\", "\t", "--", "-x"]
      .map { Array($0.utf8) } + [[0x66, 0xFF, 0xFE]]
    for ranks in ["1", "2"] {
      let filter = ranks == "1" ? [] : ["--local_ranks_filter", "1"]
      let words = ["-n", ranks] + filter + ["sh", "-c", "printf '%s\\0' \"$@\"", "name"]
      let result = try Running("\(binaries)/launch", words.map { Array($0.utf8) } + odd).finish()
      let expected: [UInt8] = odd.flatMap { (word: [UInt8]) -> [UInt8] in word + [0] }
      #expect(result.stdout == expected)
    }
  }

  @Test func oneProcessRunsWithoutMPI() throws {
    let result = try launch(
      "--num_processes", "1", "sh", "-c", "echo ${OMPI_COMM_WORLD_SIZE-none} $$ $LOCKSTEP_NUM_THREADS; exit 3",
      environment: ["LOCKSTEP_NUM_THREADS": "5", "OMP_NUM_THREADS": "7"])
    #expect(result.text.hasPrefix("none ") && result.text.hasSuffix(" 5\n"), "got \(result.text)")
    #expect(result.status == 3)
  }

  @Test func inProcessRanksAreAVariable() throws {
    let result = try launch("--in_process", "3", "sh", "-c", "echo $LOCKSTEP_IN_PROCESS ${OMPI_COMM_WORLD_SIZE-none}")
    #expect(result.text == "3 none\n")
    let plain = try launch(
      "-n", "2", "sh", "-c", "echo ${LOCKSTEP_IN_PROCESS-none}", environment: ["LOCKSTEP_IN_PROCESS": "4"])
    #expect(plain.text == "none\nnone\n")
  }

  @Test func threadsAgree() throws {
    let result = try launch(
      "-n", "2", "--num-cpu-threads-per-process", "3", "sh", "-c",
      "echo $OPENBLAS_NUM_THREADS $OMP_NUM_THREADS $LOCKSTEP_NUM_THREADS", environment: ["OMP_NUM_THREADS": "9"])
    #expect(result.text == "3 3 3\n3 3 3\n")
  }

  @Test func linesCarryTheirRank() throws {
    let result = try launch("-n", "2", "--tee", "sh", "-c", "echo hello")
    #expect(
      result.lines.sorted() == ["[0 \(hostName)] hello", "[1 \(hostName)] hello"], "\(result.text)")
  }

  @Test func whatHasNoEffectIsSaid() throws {
    let result = try launch(
      "-n", "1", "--gradient_accumulation_steps", "4", "--mixed_precision", "bf16", "sh", "-c",
      "echo $LOCKSTEP_MIXED_PRECISION")
    #expect(result.text == "bf16\n")
    #expect(result.stderr.contains("note: gradient_accumulation_steps has no effect on sh"))
    #expect(try launch("-q", "-n", "1", "--mixed_precision", "bf16", "true").stderr.isEmpty)
    let dry = try launch("--dry-run", "-n", "1", "--gradient_accumulation_steps", "4", "finetune", "--epochs", "1")
    #expect(dry.text.hasSuffix("/finetune --gradient-accumulation-steps 4 --epochs 1\n"), "\(dry.stderr)")
  }

  @Test func aDebuggerStandsInFront() throws {
    let result = try launch("-n", "1", "--debugger", "echo", "sh", "-c", "x")
    #expect(result.text == "-- /usr/bin/sh -c x\n")
  }

  @Test("a job inside a rank starts as elsewhere") func aJobInsideARank() throws {
    let result = try launch("-n", "2", "\(binaries)/launch", "-n", "2", "sh", "-c", "echo $OMPI_COMM_WORLD_SIZE")
    #expect(result.text == "2\n2\n2\n2\n")
    #expect(result.status == 0)
  }

  @Test func dryRunPrintsWhatRuns() throws {
    let folder = try temporaryFolder()
    defer { unlink("\(folder)/mpirun"); rmdir(folder) }
    try writeAtomically(
      Array(
        """
        #!/bin/sh
        [ "$1" = --version ] && echo 'mpirun (Open MPI) 4.1.4' && exit
        printf '%s\\n' "$0" "$@"

        """.utf8), to: "\(folder)/mpirun")
    chmod("\(folder)/mpirun", 0o755)
    let path = ["PATH": "\(folder):/usr/bin:/bin"]
    let words = ["-n", "3", "sh", "-c", "a 'b' # c", "--np"]
    let dry = try run("\(binaries)/launch", ["--dry-run"] + words, environment: path)
    let real = try run("\(binaries)/launch", words, environment: path)
    // Comments at the ends of lines let a shell read the text, but for the ends of lines themselves.
    let text = dry.lines.filter { !$0.contains("THREADS=") && !$0.contains("CORETYPE=") }
      .map { $0[..<($0.range(ofLast: "  # ") ?? $0.endIndex)] }
    let echoed = try run("/bin/sh", ["-c", "printf '%s\\n' " + text.joined(separator: " ")])
    #expect(echoed.lines == real.lines)
    #expect(real.lines.contains("a 'b' # c"))
  }

  @Test("a signal ends programs without the library", arguments: [SIGINT, SIGTERM, SIGHUP])
  func signalEndsTheJob(_ signal: Int32) throws {
    let running = try start()
    kill(running.child.pid, signal)
    let id = runID(running)
    let result = running.finish()
    #expect(result.status == 128 + signal)
    #expect(JobProcesses.find(runID: id).isEmpty)
  }

  @Test("a second signal ends what hears none, at once") func secondSignalEndsItAtOnce() throws {
    let running = try start("trap '' TERM INT; \(Self.sleeper)")
    let id = runID(running)
    kill(running.child.pid, SIGINT)
    usleep(200_000)
    kill(running.child.pid, SIGINT)
    let clock = ContinuousClock.now
    let result = running.finish()
    #expect(ContinuousClock.now - clock < .seconds(20))
    // Not after the time that ranks have for it.
    #expect(result.status == 130 && !result.stderr.contains("did not end in"), "\(result.stderr)")
    #expect(JobProcesses.find(runID: id).isEmpty)
  }

  @Test("a killed launcher leaves nothing") func killedLauncherLeavesNothing() throws {
    let running = try start()
    let id = runID(running)
    #expect(JobProcesses.find(runID: id).count >= 3)
    kill(running.child.pid, SIGKILL)
    #expect(running.wait { JobProcesses.find(runID: id).isEmpty })
    _ = running.finish()
  }

  @Test("a killed mpirun is a loss") func killedMPIRunIsALoss() throws {
    let running = try start()
    let id = runID(running)
    let mpirun = JobProcesses.find(runID: id).first { pid in
      systemFile("/proc/\(pid)/cmdline").map { String(decoding: $0, as: UTF8.self).contains("mpirun") } ?? false
    }
    kill(try #require(mpirun), SIGKILL)
    let result = running.finish()
    #expect(result.status == 75)
    #expect(JobProcesses.find(runID: id).isEmpty)
  }

  @Test("helpers that hide are found", arguments: ["", ">/dev/null 2>&1"]) func helpersThatHideAreFound(
    _ output: String
  ) throws {
    let result = try launch(
      "-n", "2", "sh", "-c", "setsid sh -c 'trap \"\" TERM; sleep 600' \(output) & echo $LOCKSTEP_RUN_ID")
    #expect(result.status == 0)
    #expect(result.seconds < 40)
    #expect(JobProcesses.find(runID: try #require(result.lines.first)).isEmpty)
  }

  /// Starts two ranks that sleep, and waits until both say so.
  private func start(_ script: String = sleeper) throws -> Running {
    let running = try Running("\(binaries)/launch", ["-n", "2", "sh", "-c", script].map { Array($0.utf8) })
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    return running
  }

  private func runID(_ running: Running) -> String {
    let fields = running.output().split { $0 == " " || $0 == "\n" }
    return fields.first { $0.hasPrefix("run=") }.map { String($0.dropFirst(4)) } ?? "?"
  }
}

extension String {
  /// Where the last occurrence of `text` starts.
  func range(ofLast text: String) -> String.Index? {
    indices.reversed().first { self[$0...].hasPrefix(text) }
  }
}
