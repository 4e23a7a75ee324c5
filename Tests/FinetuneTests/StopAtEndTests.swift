import Checkpoints
import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// Jobs of the launcher that are told to stop when all steps are taken and the test rows are left.
  struct StopsAtEnd {
    private let runs: SmallRuns
    private static let signals = [SIGTERM, SIGUSR1, SIGINT]

    init() throws {
      let folder = try TemporaryFolder()
      var source = ["--model", "\(Golden.folder)/tiny-bert"]
      let files = [("train", "train", 1), ("validation", "dev", 1), ("test", "dev", 8000), ("bare", "dev", 8000)]
      for (name, table, times) in files {
        let file = try folder.write(Self.rows(of: table, times: times, hasLabels: name != "bare"), "\(name).tsv")
        if name != "test" && name != "bare" { source += ["--\(name)-file", file] }
      }
      runs = try SmallRuns(["--batch-size", "4", "--split-batches", "--max-steps", "16"], source: source, in: folder)
    }

    /// A table of the small data under names of columns that are found.
    private static func rows(of table: String, times: Int, hasLabels: Bool) throws -> [UInt8] {
      let lines = try readBytes("\(Golden.folder)/mrpc/\(table).tsv").split(separator: 0x0A).dropFirst()
      func line(_ fields: [ArraySlice<UInt8>]) -> [UInt8] {
        Array(fields.dropFirst(hasLabels ? 0 : 1).joined(separator: [0x09])) + [0x0A]
      }
      let rows = lines.flatMap { line($0.split(separator: 0x09, omittingEmptySubsequences: false)) }
      return line("label,a,b,sentence1,sentence2".utf8.split(separator: 0x2C).map { ArraySlice(Array($0)) })
        + Array(repeatElement(rows, count: times).joined())
    }

    private func options(_ name: String, hasLabels: Bool) -> [String] {
      [
        "--metrics", runs.path("\(name).jsonl"), "--predictions", runs.path("\(name).predictions"),
        "--test-file", runs.path(hasLabels ? "test.tsv" : "bare.tsv"),
      ]
    }

    @Test(
      "a stop while test rows are evaluated or predicted saves all steps; the run that goes on does the rest",
      arguments: zip(signals, [true, false, true]))
    func testRows(signal: Int32, hasLabels: Bool) throws {
      let launcher = [try Program.built("launch"), "--num_processes", "2", "finetune"]
      let program = try Program(launcher + runs.arguments("part", options("part", hasLabels: hasLabels)))
      while !program.outputSoFar.contains("validation loss") {
        try #require(program.seconds < 60 && !program.hasEnded, "no evaluation")
        usleep(2000)
      }
      // Until an agent has told the launcher that its rank looks for a stop, a signal just ends the rank.
      usleep(1_200_000)
      kill(program.process, signal)
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status == 128 + signal && outcome.left == [], "\(outcome.status) \(outcome.errors)")
      for words in ["stopped after step 16 of 16", "--resume-from-checkpoint latest continues from there"] {
        #expect(outcome.output.contains(words), "\(outcome.output)")
      }
      #expect(try runs.newest("part") == 16)
      #expect(!exists("\(runs.path("part"))/model.safetensors") && !exists(runs.path("part.predictions")))

      try runs.run("whole", ranks: 2, options("whole", hasLabels: hasLabels))
      try runs.expectGoesOn("part", ranks: 2, options("part", hasLabels: hasLabels), as: "whole", "after a stop")
      for end in ["jsonl", "predictions"] {
        #expect(try readBytes(runs.path("part.\(end)")) == readBytes(runs.path("whole.\(end)")), "\(end)")
      }
      for name in ["part", "whole"] {
        let report = String(decoding: try readBytes("\(runs.path(name))/report.html"), as: UTF8.self)
        #expect(report.contains("Most confident mistakes"), "\(name): what the last evaluation has found")
      }
    }
  }
}
