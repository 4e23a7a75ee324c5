import Glibc
import Launcher
import System
import Testing

/// `--max_restarts`.
@Suite(.serialized) struct RestartTests {
  /// Runs a rank script with a counter of attempts in `$F`.
  func launch(_ restarts: Int, _ script: String) throws -> RunResult {
    let folder = try temporaryFolder()
    defer { unlink("\(folder)/count"); rmdir(folder) }
    return try run(
      "\(binaries)/launch", ["-n", "2", "--max_restarts", "\(restarts)", "sh", "-c", script],
      environment: ["F": "\(folder)/count"])
  }

  static let killedTwice = """
    [ $OMPI_COMM_WORLD_RANK = 0 ] || exec sleep 2
    echo x >>$F; [ $(wc -l <$F) -gt 2 ] || kill -9 $$; echo third
    """

  @Test func startsAgain() throws {
    let result = try launch(3, Self.killedTwice)
    #expect(result.status == 0)
    #expect(result.text == "third\n")
    let lines = result.stderr.split(separator: "\n")
    try #require(lines.count == 4, "\(lines)")
    #expect(lines[1] == "launch: restart 1 of 3 in 1 s" && lines[3] == "launch: restart 2 of 3 in 2 s", "\(lines)")
  }

  @Test func theBudgetEnds() throws {
    let result = try launch(1, Self.killedTwice)
    #expect(result.status == 75)
    #expect(result.stderr.hasSuffix("launch: no restart is left of --max_restarts 1\n"), "\(result.stderr)")
  }

  @Test(arguments: [64, 65, 66, 76, 78]) func notWhereItCannotHelp(status: Int32) throws {
    let result = try launch(3, "echo x; exit \(status)")
    #expect(result.status == status)
    #expect(!result.stderr.contains("restart"))
  }

  @Test func aSignalEndsThePause() throws {
    let running = try Running(
      "\(binaries)/launch", ["-n", "2", "--max_restarts", "9", "sh", "-c", "kill -9 $$"].map { Array($0.utf8) })
    #expect(running.wait { running.output("stderr").contains("restart 2 of 9 in 2 s") })
    kill(running.child.pid, SIGTERM)
    #expect(running.finish().status == 143)
  }
}
