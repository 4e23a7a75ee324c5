import Checkpoints
import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// Which rows a run sees that is interrupted time and again.
  struct RowLogs {
    private let runs: SmallRuns
    private static let rows = 62

    init() throws {
      runs = try SmallRuns([
        "--batch-size", "12", "--split-batches", "--max-steps", "600", "--checkpointing-steps", "10",
        "--resume-from-checkpoint", "latest",
      ])
    }

    /// A line of the log.
    private struct Line {
      var step: Int
      var epoch: Int
      var rank: Int
      var rows: [Int]
    }

    /// The whole lines of a log: of a run that was killed the last one may lack its end.
    private func read(_ path: String) throws -> [Line] {
      let text = try String(decoding: readBytes(path), as: UTF8.self)
      return try text.split(separator: "\n", omittingEmptySubsequences: false).dropFirst().dropLast().map { line in
        let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
        let numbers = fields.prefix(3).compactMap { Int($0) }
        try #require(fields.count == 4 && numbers.count == 3, "\(line)")
        return Line(
          step: numbers[0], epoch: numbers[1], rank: numbers[2],
          rows: fields[3].split(separator: " ").compactMap { Int($0) })
      }
    }

    @Test(
      "over five interruptions on changing numbers of ranks every row is seen exactly once in each epoch",
      arguments: [
        (100, []), (100, ["--reduction", "invariant"]), (200, ["--gradient-accumulation-steps", "2"]),
      ])
    func everyRowOnce(epochCount: Int, more: [String]) throws {
      var kept: [Line] = []
      for (number, ranks) in [2, 3, 1, 4, 2, 3].enumerated() {
        let log = runs.path("rows-\(number)")
        let arguments = runs.arguments("part", more + ["--debug-rows", log])
        let mpi = try TemporaryFolder()
        let places = ["env", "TMPDIR=\(mpi.path)", "OMPI_MCA_btl_vader_backing_directory=\(mpi.path)"]
        let program = try Program(places + Program.command("finetune", ranks: ranks, arguments))
        let isLast = number == 5
        let goal = 90 * (number + 1)
        while !isLast, (try? read(log))?.last.map({ $0.step < goal }) ?? true {
          try #require(program.seconds < 90 && !program.hasEnded, "step \(goal) is not reached")
          usleep(2000)
        }
        if !isLast { for process in program.marked { kill(process.id, SIGKILL) } }
        let outcome = program.wait(seconds: 60)
        #expect(outcome.status == (isLast ? 0 : 128 + SIGKILL), "\(outcome.errors)")
        let lines = try read(log)
        let first = try #require(lines.first?.step)
        #expect(number == 0 || first > 1, "interruption \(number) began anew")
        // Steps behind the checkpoint that this run went on from are taken again.
        kept.removeAll { $0.step >= first }
        kept += lines
        #expect(Set(lines.map(\.rank)) == Set(0..<ranks))
      }
      var epochs: [Int: [Int]] = [:]
      for line in kept { epochs[line.epoch, default: []] += line.rows }
      #expect(epochs.keys.sorted() == Array(1...epochCount))
      let wrong = epochs.filter { $0.value.sorted() != Array(0..<Self.rows) }.keys.sorted()
      #expect(wrong == [], "rows missing or twice in epochs \(wrong)")
      #expect(Set(kept.map(\.step)) == Set(1...600))
      // Another order each epoch.
      #expect(epochs[1] != epochs[2])
    }

    @Test("a file of another kind is not taken for a log of rows")
    func otherFile() throws {
      let file = try runs.folder.write("mine\n", "file")
      let outcome = try finetune(runs.arguments("part", ["--debug-rows", file]))
      #expect(outcome.status == 73 && outcome.errors.contains("--debug-rows"), "\(outcome.errors)")
      #expect(try readBytes(file) == Array("mine\n".utf8))
    }
  }
}
