import System
import TestSupport
import Testing

/// `Tests/Golden/before` holds metrics files that the program wrote before it was taken apart and put together anew, in a
/// folder for each kind of machine. `machine` in it has two lines of `launch env`, on which the last digits depend. They
/// were made by commit b2a7e35 with the options below.
struct BeforeCase: CustomTestStringConvertible, Sendable {
  var name: String
  var ranks: Int
  var options: [String]

  var testDescription: String { "\(name), \(ranks) ranks" }
  var isRounded: Bool { options.contains("bf16") }

  static let all: [BeforeCase] = {
    let bf16 = ["--mixed-precision", "bf16"]
    let accumulation = ["--gradient-accumulation-steps", "2"]
    let clipping = ["--max-grad-norm", "0.5", "--warmup-steps", "2"]
    let kinds = [
      ("plain", []), ("bf16", bf16), ("accumulation", accumulation), ("clipping", clipping),
      ("bf16-accumulation-clipping", bf16 + accumulation + clipping),
    ]
    return [1, 2, 4].flatMap { ranks in kinds.map { BeforeCase(name: $0.0, ranks: ranks, options: $0.1) } }
  }()

  static let common = [
    "--batch-size", "12", "--split-batches", "--learning-rate", "1e-3", "--dropout", "0.2", "--max-steps", "6",
    "--float32-matmul-precision", "highest",
  ]
}

extension Programs {
  struct Before {
    /// The folder of this kind of machine, or one of another kind.
    private static let folder: (path: String, isOfThisMachine: Bool) = {
      let before = "\(Golden.folder)/before"
      let kinds = TemporaryFolder.entries(before).map { "\(before)/\($0)" }
      let said = (try? Program.run([Program.built("launch"), "env"]).outputLines) ?? []
      let own = kinds.first { kind in
        let lines = (try? readBytes("\(kind)/machine").split(separator: UInt8(ascii: "\n"))) ?? []
        return !lines.isEmpty && lines.allSatisfy { said.contains(String(decoding: $0, as: UTF8.self)) }
      }
      return (own ?? kinds.first ?? before, own != nil)
    }()

    @Test(
      "finetune writes the metrics file of before the redesign: to the last digit on such a machine",
      arguments: BeforeCase.all)
    func sameFile(_ run: BeforeCase) throws {
      let temporary = try TemporaryFolder()
      let metrics = "\(temporary.path)/metrics"
      let outcome = try finetune(
        ranks: run.ranks, tinyModel + BeforeCase.common + run.options + ["--metrics", metrics])
      try #require(outcome.status == 0, "\(outcome.errors)")
      let expected = "\(Self.folder.path)/\(run.name)-\(run.ranks).jsonl"
      if Self.folder.isOfThisMachine {
        let (new, old) = (try readBytes(metrics), try readBytes(expected))
        #expect(new == old, "\(String(decoding: new, as: UTF8.self))\nexpected \(String(decoding: old, as: UTF8.self))")
      }
      #expect(try differences(MetricsLine.read(metrics), MetricsLine.read(expected), run) == [])
    }

    /// Of another kind of machine sums round otherwise, and of bf16 what is rounded too.
    private func differences(_ new: [MetricsLine], _ old: [MetricsLine], _ run: BeforeCase) -> [String] {
      guard new.count == old.count else { return ["\(new.count) lines, expected \(old.count)"] }
      // A row more or less may be right where products are rounded.
      let (losses, norms, scores) = run.isRounded ? (0.01, 0.05, 0.06) : (1e-5, 1e-4, 1e-12)
      return zip(new, old).flatMap { new, old -> [String] in
        guard (new.kind, new.step, new.examples) == (old.kind, old.step, old.examples) else {
          return ["\(new), expected \(old)"]
        }
        typealias Value = (name: String, new: Double, old: Double, tolerance: Double)
        let values: [Value] = [
          ("epoch", new.epoch, old.epoch, 1e-12), ("loss", new.loss, old.loss, losses),
          ("learning rate", new.learning_rate ?? 0, old.learning_rate ?? 0, 1e-12),
          ("norm", new.grad_norm ?? 0, old.grad_norm ?? 0, norms),
          ("accuracy", new.accuracy ?? 0, old.accuracy ?? 0, scores), ("F1", new.f1 ?? 0, old.f1 ?? 0, scores),
        ]
        return values.filter { relativeError($0.new, $0.old) > $0.tolerance }
          .map { "step \(old.step): \($0.name) \($0.new), expected \($0.old)" }
      }
    }
  }
}
