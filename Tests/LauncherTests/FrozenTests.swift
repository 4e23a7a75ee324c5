import Glibc
import Launcher
import System
import TestSupport
import Testing

/// A reader that stops reading, a machine that is paused, and programs that rest.
@Suite(.serialized) struct FrozenTests {
  @Test(
    "a reader that stops reading delays neither a signal nor the log files",
    arguments: [["-n", "2"], ["-n", "1", "--tee"]])
  func stuckReader(way: [String]) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    mkfifo("\(folder)/pipe", 0o600)
    // Opened for both, the pipe has a reader that takes nothing.
    let pipe = open("\(folder)/pipe", O_RDWR | O_CLOEXEC)
    defer { close(pipe) }
    let words = way.joined(separator: " ")
    let script = """
      exec \(binaries)/launch \(words) --log_dir \(folder)/logs sh -c 'seq 100000; echo done >\(folder)/$$; sleep 600' >\(folder)/pipe
      """
    let running = try Running("/bin/bash", ["-c", script].map { Array($0.utf8) })
    let ranks = way[1] == "2" ? 2 : 1
    let marks = { names(in: folder).count { Int($0) != nil } }
    try #require(running.wait { marks() == ranks })
    let clock = ContinuousClock.now
    let complete = Array((1...100_000).map { "\($0)\n" }.joined().utf8)
    #expect(running.wait { (0..<ranks).allSatisfy { systemFile("\(folder)/logs/rank-\($0).out") == complete } })
    kill(running.child.pid, SIGTERM)
    // One process gets the signal itself; sh waits for its sleep.
    if ranks == 1 {
      usleep(500_000)
      kill(running.child.pid, SIGTERM)
    }
    let result = running.finish(within: 30)
    #expect(result.status == 143, "\(result.stderr)")
    #expect(ContinuousClock.now - clock < .seconds(25))
    #expect(running.job.all.isEmpty)
  }

  @Test("what is lost to a reader that has stopped is counted") func lostOutput() throws {
    var ends: [Int32] = [-1, -1]
    try #require(pipe(&ends) == 0)
    // A write that waits ends with its reader.
    signal(SIGPIPE, SIG_IGN)
    defer { close(ends[1]) }
    let writer = try OutputWriter(ends[1], mostBytes: 1 << 20)
    writer.write([UInt8](repeating: 0x61, count: 1 << 20))
    #expect(writer.lostBytes == 0)
    writer.write([UInt8](repeating: 0x62, count: 3 << 20))
    #expect(writer.lostBytes == 3 << 20)
    writer.close()
    close(ends[0])
    while !writer.isDone { usleep(1000) }
  }

  @Test("output that a stopped reader will never get is named, with its size") func lostOutputIsNamed() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    mkfifo("\(folder)/pipe", 0o600)
    let pipe = open("\(folder)/pipe", O_RDWR | O_CLOEXEC)
    defer { close(pipe) }
    let script = """
      exec \(binaries)/launch -n 1 --tee sh -c 'yes $(printf %0999d 1) | head -c 300000000; echo >\(folder)/done; sleep 600' >\(folder)/pipe
      """
    let running = try Running("/bin/bash", ["-c", script].map { Array($0.utf8) })
    try #require(running.wait(seconds: 300) { exists("\(folder)/done") })
    for _ in 0..<2 {
      usleep(500_000)
      kill(running.child.pid, SIGTERM)
    }
    let result = running.finish(within: 30)
    #expect(result.status == 143, "\(result.stderr)")
    #expect(result.stderr.contains("standard output lacks the last 3"), "\(result.stderr)")
    #expect(result.stderr.contains("--log_dir keeps all of it"), "\(result.stderr)")
  }

  @Test("a slow reader gets everything") func slowReader() throws {
    let script = "\(binaries)/launch -n 2 seq 60000 | { sleep 2; wc -l; }; echo ${PIPESTATUS[0]}"
    #expect(try run("/bin/bash", ["-c", script]).lines == ["120000", "0"])
  }

  @Test("a pause of the whole machine is no stall") func paused() throws {
    let running = try Running(
      "\(binaries)/launch",
      ["-n", "2", "--stall_timeout", "4", FailureTests.check, "works", "20"].map { Array($0.utf8) })
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    usleep(1_500_000)
    let all = [running.child.pid] + running.job.all
    for pid in all { kill(pid, SIGSTOP) }
    usleep(7_000_000)
    // The launcher first, which sees the others stand still for a moment longer.
    for pid in all {
      kill(pid, SIGCONT)
      usleep(50_000)
    }
    usleep(2_500_000)
    kill(running.child.pid, SIGINT)
    let result = running.finish(within: 30)
    #expect(result.status == 130)
    #expect(!result.stderr.contains("stands still"), "\(result.stderr)")
  }

  @Test("ranks that a pause leaves stopped are continued") func leftBehind() throws {
    let running = try Running(
      "\(binaries)/launch",
      ["-n", "2", "--stall_timeout", "6", FailureTests.check, "works", "20"].map { Array($0.utf8) })
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    usleep(1_000_000)
    let all = running.job.all
    let ranks = all.filter { systemText("/proc/\($0)/comm") != "mpirun" }
    try #require(ranks.count == all.count - 1)
    for pid in [running.child.pid] + all { kill(pid, SIGSTOP) }
    usleep(5_000_000)
    // mpirun may pass a stop on only after all have been continued.
    for pid in all + [running.child.pid] { kill(pid, SIGCONT) }
    usleep(100_000)
    for pid in ranks { kill(pid, SIGSTOP) }
    let isStopped = { (pid: pid_t) in systemText("/proc/\(pid)/stat")?.contains(") T ") != false }
    try #require(running.wait { ranks.allSatisfy(isStopped) })
    #expect(running.wait { !ranks.contains(where: isStopped) })
    kill(running.child.pid, SIGINT)
    let result = running.finish(within: 30)
    #expect(result.status == 130, "\(result.stderr)")
    #expect(!result.stderr.contains("stands still"), "\(result.stderr)")
  }

  @Test(
    "with --stall_timeout a program that does not use the library is watched by what it computes",
    arguments: ["1", "2"])
  func rests(ranks: String) throws {
    let options = ["-n", ranks, "--stall_timeout", "2", "--monitor_interval", "0.25"]
    let result = try run("\(binaries)/launch", options + ["sleep", "600"])
    #expect(result.status == 75)
    #expect(result.error.contains("computed, read and wrote nothing for 2 s"), "\(result.stderr)")
    #expect(result.left == [])
    // A script waits while what it started computes; and short processes count, too.
    for work in ["timeout 7 sh -c \"while :; do :; done\"; true", "for i in $(seq 30); do sleep 0.2; done"] {
      let busy = try run("\(binaries)/launch", options + ["sh", "-c", work])
      #expect(busy.status == 0 && !busy.stderr.contains("error"), "\(busy.stderr)")
      if ranks == "2" { #expect(busy.stderr.contains("does not use the library"), "\(busy.stderr)") }
    }
  }

  @Test("without --stall_timeout such a program may rest") func mayRest() throws {
    let result = try launch("-n", "2", "--monitor_interval", "0.1", "sleep", "3")
    #expect(result.status == 0 && result.stderr.isEmpty, "\(result.stderr)")
  }
}
