import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Ctrl-C on programs that do not say that they stop by themselves.
@Suite(.serialized) struct OwnLoopStopTests {
  /// A folder of MRPC's format whose training takes much longer than a test.
  private func longData(_ folder: String) throws {
    for (name, times) in [("train", 400), ("dev", 1)] {
      let bytes = try readBytes("\(Golden.folder)/mrpc/\(name).tsv")
      let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      let header = Array(try #require(lines.first)) + [UInt8(ascii: "\n")]
      let rows = Array(lines.dropFirst().filter { !$0.isEmpty }.joined(separator: [UInt8(ascii: "\n")])) + [10]
      try writeAtomically(header + (0..<times).flatMap { _ in rows }, to: "\(folder)/\(name).tsv")
    }
  }

  @Test(
    "a loop of one's own ends at once, not after the time that ranks have which stop by themselves",
    arguments: [1, 2], [SIGINT, SIGTERM])
  func loop(ranks: Int, signal: Int32) throws {
    let folder = try TemporaryFolder()
    try longData(folder.path)
    let words = ["-n", "\(ranks)", "\(binaries)/accelerated-loop", "\(Golden.folder)/tiny-bert", folder.path]
    let running = try Running("\(binaries)/launch", words.map { Array($0.utf8) })
    try #require(running.wait { running.output().contains("step 20:") }, "\(running.output("stderr"))")
    let clock = ContinuousClock.now
    kill(running.child.pid, signal)
    var end: ChildProcess.End?
    #expect(
      running.wait(seconds: 15) {
        end = end ?? running.end()
        return end != nil
      }, "still there after \(ContinuousClock.now - clock)")
    if end == nil { _ = running.finish() }
    #expect(end == .status(128 + signal), "\(running.output("stderr"))")
    #expect(running.wait(seconds: 8) { running.job.all.isEmpty })
  }

  @Test("looking at the flag is no promise to stop: such ranks are ended at once") func onlyLooks() throws {
    let running = try StopTests().start([FailureTests.check, "only-looks", "20"])
    usleep(1_500_000)
    kill(running.child.pid, SIGINT)
    let result = running.finish()
    #expect(result.status == 130)
    #expect(
      result.stderr.contains("ending the ranks") && !result.stderr.contains("stop after the step"), "\(result.stderr)")
    #expect(result.left == [])
  }
}
