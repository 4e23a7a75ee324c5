import Checkpoints
import FoundationEssentials
import Safetensors
import System
import TestSupport
import Testing

extension Programs {
  /// `finetune --non-finite`, on a model in which one word of the rows 48, 49 and 59 overflows.
  struct NonFiniteRuns {
    private let folder: TemporaryFolder
    private let model: String

    init() throws {
      folder = try TemporaryFolder()
      model = try folder.copy("\(Golden.folder)/tiny-bert", as: "model")
      let path = "\(model)/model.safetensors"
      let file = try SafetensorsFile(path)
      let table = try #require(file.tensor(named: "bert.embeddings.word_embeddings.weight"))
      let rowBytes = 4 * (try #require(table.shape.last))
      var bytes = try readBytes(path)
      let header = bytes.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
      let start = 8 + header + table.byteRange.lowerBound + 94 * rowBytes
      for place in stride(from: start, to: start + rowBytes, by: 4) {
        withUnsafeBytes(of: Float(3e38)) { bytes.replaceSubrange(place..<place + 4, with: $0) }
      }
      try folder.write(bytes, "model/model.safetensors")
    }

    private func path(_ name: String) -> String { "\(folder.path)/\(name)" }

    /// Steps of 8 rows, in the order of the file: they are in the 6th, 7th and 8th of 8 steps of an epoch.
    private func arguments(_ name: String, _ more: [String] = []) -> [String] {
      [
        "--model", model, "--data", "\(Golden.folder)/mrpc", "--batch-size", "8", "--split-batches", "--no-shuffle",
        "--learning-rate", "1e-3", "--epochs", "2", "--output-dir", path(name), "--metrics", path("\(name).jsonl"),
      ] + more
    }

    private struct Line: Decodable {
      var kind: String
      var step: Int
      var loss: Double?
      var skipped: Bool?
      // swift-format-ignore: AlwaysUseLowerCamelCase
      var learning_rate: Double?
    }

    private func lines(_ name: String) throws -> [Line] {
      try readBytes(path("\(name).jsonl")).split(separator: UInt8(ascii: "\n")).map {
        try JSONDecoder().decode(Line.self, from: Data($0))
      }
    }

    @Test("a bad number stops the job before a checkpoint holds it, with step, rank, row and layer", arguments: [1, 2])
    func stops(ranks: Int) throws {
      let outcome = try finetune(ranks: ranks, arguments("stopped", ["--checkpointing-steps", "1"]))
      #expect(outcome.status == 65 && outcome.left == [], "\(outcome.errors)")
      #expect(outcome.errors.contains("the loss became NaN at step 6 on rank "), "\(outcome.errors)")
      #expect(outcome.errors.contains("row 48 of the training rows, first in the embeddings"), "\(outcome.errors)")
      #expect(outcome.errors.contains("--non-finite skip"), "\(outcome.errors)")
      // The fifth may have been on its way.
      let names = TemporaryFolder.entries(path("stopped/checkpoints"))
      #expect(names == (1...4).map(CheckpointStore.name) || names == (1...5).map(CheckpointStore.name), "\(names)")
    }

    @Test(
      "with skip all ranks leave such steps out, which metrics, summary and report count",
      arguments: [
        (1, [:], []), (2, [:], ["--reduction", "invariant"]),
        (2, ["LOCKSTEP_PRETEND_HOSTS": "1,1"], ["--ddp-comm-hook", "bf16"]),
      ] as [(Int, [String: String], [String])])
    func skips(ranks: Int, variables: [String: String], more: [String]) throws {
      let outcome = try finetune(
        ranks: ranks, arguments("skipped", ["--non-finite", "skip"] + more), variables: variables)
      #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
      let steps = try lines("skipped").filter { $0.kind == "step" }
      #expect(steps.map(\.step) == Array(1...16))
      #expect(steps.filter { $0.skipped == true }.map(\.step) == [6, 7, 8, 14, 15, 16])
      #expect(steps.allSatisfy { ($0.loss == nil) == ($0.skipped == true) })
      var taken = 0
      for step in steps {
        let rate = step.learning_rate ?? .nan
        #expect(relativeError(rate, 1e-3 * Double(16 - taken) / 16) < 1e-12, "the schedule follows the steps taken")
        taken += step.skipped == true ? 0 : 1
      }
      let notes = outcome.output.split(separator: "\n").filter { $0.contains("is left out: the loss became NaN") }
      #expect(notes.count == 6 && notes.first?.contains("step 6") == true, "\(outcome.output)")
      #expect(outcome.output.contains("6 steps left out, for numbers that are not finite"), "\(outcome.output)")
      let report = String(decoding: try readBytes(path("skipped/report.html")), as: UTF8.self)
      #expect(report.contains("steps left out, for numbers that are not finite"))
    }

    @Test("a run that goes on after a step was left out has the bits of the undisturbed one", arguments: [8, 12])
    func resumes(step: Int) throws {
      let whole = try finetune(arguments("whole", ["--non-finite", "skip", "--checkpointing-steps", "4"]))
      #expect(whole.status == 0, "\(whole.errors)")
      let name = CheckpointStore.name(step: step)
      try makeDirectory("\(path("part"))/checkpoints")
      _ = try folder.copy(path("whole/checkpoints/\(name)"), as: "part/checkpoints/\(name)")
      try folder.write(readBytes(path("whole.jsonl")), "part.jsonl")
      let part = try finetune(arguments("part", ["--non-finite", "skip", "--resume-from-checkpoint", "latest"]))
      #expect(part.status == 0 && part.output.contains("continues after step \(step) of 16"), "\(part.errors)")
      #expect(try readBytes("\(path("part"))/model.safetensors") == readBytes("\(path("whole"))/model.safetensors"))
      #expect(try readBytes(path("part.jsonl")) == readBytes(path("whole.jsonl")))
      #expect(part.output.contains("6 steps left out"), "\(part.output)")
    }
  }
}
