import FoundationEssentials
import System
import TestSupport
import Testing

/// Tests of the real programs, one after another: they share two cores.
@Suite(.serialized) enum Programs {}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// A line of a metrics file.
struct MetricsLine: Decodable, Equatable {
  var kind: String
  var step: Int
  var epoch, loss: Double
  var learning_rate, grad_norm: Double?
  var accuracy, f1: Double?
  var examples: Int?

  static func read(_ path: String) throws -> [MetricsLine] {
    try readBytes(path).split(separator: UInt8(ascii: "\n")).map {
      try JSONDecoder().decode(MetricsLine.self, from: Data($0))
    }
  }
}

/// What is wrong with the steps of a metrics file, against others' losses, rates and norms.
func differences(_ lines: [MetricsLine], _ expected: [(loss: Double, rate: Double, norm: Double)]) -> [String] {
  let steps = lines.filter { $0.kind == "step" }
  guard steps.count == expected.count else { return ["\(steps.count) steps, expected \(expected.count)"] }
  return steps.indices.flatMap { index -> [String] in
    let (step, golden) = (steps[index], expected[index])
    guard step.step == index + 1 else { return ["step \(step.step), expected \(index + 1)"] }
    return [
      ("loss", step.loss, golden.loss, 1e-5), ("rate", step.learning_rate ?? .nan, golden.rate, 1e-5),
      ("norm", step.grad_norm ?? .nan, golden.norm, 1e-4),
    ].compactMap { name, value, expected, tolerance in
      relativeError(value, expected) <= tolerance ? nil : "step \(step.step): \(name) \(value), expected \(expected)"
    }
  }
}

extension CurveGolden {
  var expected: [(loss: Double, rate: Double, norm: Double)] { history.map { ($0.loss, $0.rate, $0.grad_norm) } }

  /// The options of `finetune` that repeat this run.
  var options: [String] {
    var options = ["--no-shuffle", "--dropout", "0", "--max-steps", "\(totalSteps)", "--learning-rate", "\(peakRate)"]
    options += ["--batch-size", "\(batch_size)", "--split-batches", "--warmup-steps", "\(warmupSteps)"]
    options += ["--weight-decay", "\(weightDecay)"]
    options += ["--gradient-accumulation-steps", "\(gradient_accumulation_steps)"]
    if let maxGradientNorm { options += ["--max-grad-norm", "\(maxGradientNorm)"] }
    if sparesBiasAndNorm { options.append("--no-decay-bias-norm") }
    return options
  }
}

/// Runs `finetune` on so many ranks.
func finetune(
  ranks: Int = 1, _ arguments: [String], variables: [String: String] = [:], seconds: Double = 60
) throws -> Program.Outcome {
  try Program.run(Program.command("finetune", ranks: ranks, arguments), variables: variables, seconds: seconds)
}

/// Runs `inspect`.
func inspect(_ arguments: [String]) throws -> Program.Outcome {
  try Program.run([Program.built("inspect")] + arguments)
}

/// The small model and its rows.
let tinyModel = ["--model", "\(Golden.folder)/tiny-bert", "--data", "\(Golden.folder)/mrpc"]
