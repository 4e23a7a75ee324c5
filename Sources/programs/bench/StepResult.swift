import Kernels
import Reporting
import Training

// swift-format-ignore: AlwaysUseLowerCamelCase
/// What `bench step` prints.
struct StepResult: Encodable {
  var examples_per_second: Double
  var tokens_per_second: Double
  /// Per step: means over the ranks, in milliseconds.
  var milliseconds: [String: Spread]
  /// Of the products of forward and backward, over the whole step.
  var gflops_per_second: Double
  var machine_figures: MachineFigures
  var roofline: RooflineResult
  /// Nil where no gradients travel.
  var transfer: TransferResult?
  var lockstep_check: LockstepCheckResult
  /// Nil where it was not asked for.
  var invariant: InvariantResult?
  /// In 10⁶ bytes.
  var memory: MemoryResult
  var verified: Verification
  var evaluation: EvaluationResult?
  var steps: Int
  var batch_size: Int
  var parameters: Int
  var precision: String
  /// What computes the products.
  var products: String
  var shares_memory: Bool
  var first_loss: Double
  var last_loss: Double
  var machine: Machine
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// Gradients on their way between hosts.
struct TransferResult: Encodable {
  /// From the first bucket to the last, hidden or not.
  var milliseconds: Spread
  /// Of it, what ran beside backward; the rest is `communication`.
  var hidden_fraction: Double
  var megabytes_sent_per_rank: Double
  var precision: String

  init?(
    _ transfers: (seconds: [Double], megabytes: [Double]), parts: [[Double]], wire: WirePrecision
  ) {
    let total = transfers.seconds.reduce(0, +)
    guard total > 0 else { return nil }
    milliseconds = Spread(transfers.seconds.map { 1e3 * $0 })
    hidden_fraction = max(0, 1 - parts[StepPart.communication.rawValue].reduce(0, +) / total)
    megabytes_sent_per_rank = Spread(transfers.megabytes).median
    precision = wire == .no ? "fp32" : wire.rawValue
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// Ranks and hosts that compare their numbers.
struct LockstepCheckResult: Encodable {
  var milliseconds: Spread
  var steps: Int
  /// What one comparison after so many steps adds to their time, as a fraction.
  var cost: Double

  init(_ seconds: [Double], every steps: Int, steps wall: [Double]) {
    milliseconds = Spread(seconds.map { 1e3 * $0 })
    self.steps = steps
    cost = Spread(seconds).median / (Double(steps) * Spread(wall).median)
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// Steps with the same bits on any number of ranks.
struct InvariantResult: Encodable {
  /// As of the fast steps.
  var milliseconds: [String: Spread]
  /// The median step's time by that of a fast one, in the same run.
  var ratio_to_fast: Double
  /// Groups of a batch over all ranks.
  var groups: Int
  var last_loss: Double
}

/// The middle of several numbers and how far they lie apart.
struct Spread: Encodable {
  var median: Double
  /// A tenth of the numbers lie below, and a tenth above.
  var p10: Double
  var p90: Double

  init(_ values: [Double]) {
    precondition(!values.isEmpty, "the spread of no numbers")
    let sorted = values.sorted()
    func at(_ share: Double) -> Double {
      let place = share * Double(sorted.count - 1)
      let (low, high) = (Int(place), min(Int(place) + 1, sorted.count - 1))
      return sorted[low] + (sorted[high] - sorted[low]) * (place - Double(low))
    }
    median = at(0.5)
    p10 = at(0.1)
    p90 = at(0.9)
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// The machine's own speed, measured right after the steps, all ranks at once.
struct MachineFigures: Encodable {
  /// OpenBLAS, at the model's shapes, all ranks together; nil in bf16, which it does not multiply.
  var library_gflops_per_second: Double?
  /// The same products as training computes them.
  var own_gflops_per_second: Double
  /// Of the slowest host.
  var memory_gigabytes_per_second: Double
}

// swift-format-ignore: AlwaysUseLowerCamelCase
struct RooflineResult: Encodable {
  /// Of a step, with the better one of library and own products.
  var milliseconds: Double
  /// The roofline's time, of the time that a step took: medians over the steps.
  var fraction: Double
  var fraction_with_library_rate: Double?
  var fraction_with_own_rate: Double
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// What was compared before anything was timed: one batch, dropout off, on OpenBLAS and as training computes it.
struct Verification: Encodable {
  var rows: Int
  /// Largest absolute difference of the logits.
  var logits_difference: Double
  /// Of all gradients as one vector: the length of the difference, of the length.
  var gradient_difference: Double
}

// swift-format-ignore: AlwaysUseLowerCamelCase
struct EvaluationResult: Encodable {
  var examples: Int
  var examples_per_second: Double
}
