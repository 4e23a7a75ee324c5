import Glibc
import Launcher
import System
import TestSupport
import Testing

/// What becomes of what ranks write.
@Suite(.serialized) struct OutputTests {
  @Test("much output arrives whole", arguments: [[], ["--tee"]]) func much(options: [String]) throws {
    let megabytes = getenv("LOCKSTEP_SLOW") == nil ? 20 : 500
    let lines = megabytes * 1_000_000 / 8
    let script = "seq 1000000 \(999_999 + lines)"
    let words = ["-n", "2"] + options + ["sh", "-c", script]
    let command = ([binaries + "/launch"] + words).map(shellQuoted).joined(separator: " ")
    let sums = try run(
      "/bin/bash",
      [
        "-c",
        "\(command) | sed 's/^.* //' | sort -n --buffer-size=200M | uniq -c | awk '{ n += $1; if ($1 != 2) bad++ } END { print n, bad + 0 }'",
      ])
    #expect(sums.text == "\(2 * lines) 0\n", "\(sums.stderr)")
  }

  @Test("lines without end, long ones and odd bytes arrive as they are") func odd() throws {
    let result = try launch("-n", "1", "true")
    #expect(result.status == 0)
    let long = try launch(
      "-n", "2", "--tee", "sh", "-c",
      "head -c 10000 /dev/zero | tr '\\0' x; echo; printf 'a\\033[31m\\377\\001LS\\002b'")
    let labelBytes = "[0 \(hostName)] ".utf8.count
    let expected = 2 * (10_001 + 13 + 2 * labelBytes)
    #expect(long.stdout.count == expected)
    let lines = long.stdout.split(separator: 10)
    #expect(lines.count == 4)
    #expect(lines.allSatisfy { $0.starts(with: "[0 \(hostName)] ".utf8) || $0.starts(with: "[1 \(hostName)] ".utf8) })
    #expect(lines.count { $0.contains(0xFF) && $0.contains(0x1B) } == 2)
  }

  @Test("lines of several ranks are not mixed") func wholeLines() throws {
    let script = "for i in $(seq 40); do printf 'abc'; sleep 0.02; printf 'def%s\\n' $OMPI_COMM_WORLD_RANK; done"
    let result = try launch("-n", "3", "sh", "-c", script)
    #expect(result.lines.count == 120)
    #expect(result.lines.allSatisfy { ["abcdef0", "abcdef1", "abcdef2"].contains($0) })
  }

  @Test("an unfinished line is shown at once") func prompt() throws {
    let folder = try temporaryFolder()
    defer { unlink("\(folder)/seen"); rmdir(folder) }
    let script = "[ $OMPI_COMM_WORLD_RANK = 1 ] || printf 'step 1'; until [ -e \(folder)/seen ]; do sleep 0.1; done"
    let running = try Running("\(binaries)/launch", ["-n", "2", "sh", "-c", script].map { Array($0.utf8) })
    #expect(running.wait { running.output() == "step 1" })
    try writeAtomically([], to: "\(folder)/seen")
    #expect(running.finish().status == 0)
  }

  @Test("files of each rank, and a filter for the screen") func filterAndFiles() throws {
    let folder = try temporaryFolder()
    defer { for name in names(in: folder) { unlink("\(folder)/\(name)") }; rmdir(folder) }
    let result = try launch(
      "-n", "3", "--local_ranks_filter", "0,2", "--log_dir", folder, "sh", "-c",
      "echo out $OMPI_COMM_WORLD_RANK; echo err $OMPI_COMM_WORLD_RANK >&2")
    #expect(result.lines.sorted() == ["out 0", "out 2"])
    #expect(result.stderr.split(separator: "\n").sorted() == ["err 0", "err 2"])
    for rank in 0..<3 {
      #expect(try readBytes("\(folder)/rank-\(rank).out") == Array("out \(rank)\n".utf8))
      #expect(try readBytes("\(folder)/rank-\(rank).err") == Array("err \(rank)\n".utf8))
    }
    #expect(try launch("-n", "2", "--ranks_filter", "1-1", "sh", "-c", "echo $OMPI_COMM_WORLD_RANK").text == "1\n")
  }

  @Test("a failing rank that is not shown has its last lines in the summary") func lastLines() throws {
    let result = try launch(
      "-n", "2", "--local_ranks_filter", "0", "sh", "-c",
      "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then seq 20; echo why >&2; exit 9; fi; sleep 600")
    #expect(result.status == 9)
    #expect(result.stderr.contains("launch: the last lines of rank 1:\nlaunch:   17\n"), "\(result.stderr)")
    #expect(result.stderr.contains("launch:   why\n"))
  }

  static let bad: [([String], Int32)] = [
    (["--local_ranks_filter", "2"], 64), (["--local_ranks_filter", "x"], 64), (["--local_ranks_filter", "1-0"], 64),
    (["--local_ranks_filter", "0--1"], 64), (["--log_dir", "/proc/nowhere"], 73), (["--log_dir", "/dev/null"], 73),
    (["--debug_rank", "1"], 64), (["--debugger", "echo", "--debug_rank", "2"], 64),
    (["--debugger", "no-such-debugger"], 66), (["--max_restarts", "-1"], 64), (["--max_restarts", "x"], 64),
  ]

  @Test("bad filters and folders", arguments: bad) func refused(options: [String], status: Int32) throws {
    let result = try run("\(binaries)/launch", ["-n", "2"] + options + ["true"])
    #expect(result.status == status, "\(result.stderr)")
    #expect(result.stderr.split(separator: "\n").count == 1, "\(result.stderr)")
  }

  @Test(
    "a progress bar on a terminal stays whole below the lines of other ranks",
    .needs(.terminal))
  func bar() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    // Each waits for the other, and until that is shown.
    let rank = """
      after() { until [ -e \(folder)/$1 ]; do sleep 0.05; done; sleep 1; }
      if [ $OMPI_COMM_WORLD_RANK = 0 ]; then printf '\\rbar 1'; touch \(folder)/bar; after note; printf '\\rbar 2\\n'
      else after bar; echo note; touch \(folder)/note; fi
      """
    try writeAtomically(Array(rank.utf8), to: "\(folder)/s")
    let result = try run("/usr/bin/env", ["script", "-qec", "\(binaries)/launch -n 2 sh \(folder)/s", "/dev/null"])
    #expect(result.status == 0)
    #expect(result.text == "\rbar 1\r\u{1B}[Knote\r\n\rbar 1\rbar 2\r\n", "\(result.stdout)")
  }

  @Test("a debugger in front of one of several ranks") func debugger() throws {
    let result = try launch("-n", "2", "--debugger", "echo", "--debug_rank", "1", "sh", "-c", "echo plain")
    #expect(result.lines.sorted() == ["-- /usr/bin/sh -c echo plain", "plain"], "\(result.text) \(result.stderr)")
  }

  @Test(
    "gdb on the user's terminal, in front of one rank",
    .needs(.terminal, .debugger))
  func gdb() throws {
    let line =
      "printf 'run\\nprint 40+2\\nquit\\n' | script -qec '\(binaries)/launch -n 2 --debugger gdb --debug_rank 1 \(FailureTests.check) steps 2' /dev/null"
    let result = try run("/bin/bash", ["-c", line])
    #expect(result.text.contains("$1 = 42"), "\(result.text)")
    #expect(result.text.contains("exited normally"), "\(result.text)")
  }
}
