import Collectives
import Kernels
import System

/// Where the time of a run went, over all ranks, and what would help most.
public struct TimeReport: Sendable {
  /// Each rank's steps, all together.
  let ranks: [StepSeconds]
  /// Each rank's evaluations.
  let evaluations: [Double]
  let hosts: [String]
  let steps: Int
  let precision: ProductPrecision
  /// Whether the model's matrices are so large that products take most of the time.
  let isLarge: Bool

  /// Called by all ranks: everybody's times.
  public init(_ engine: TrainingEngine) throws(Failure) {
    let communicator = engine.communicator
    let own = StepPart.allCases.map { engine.totalSeconds[$0] } + [engine.evaluationSeconds]
    let all = try communicator.allGather(own)
    ranks = all.map { values in
      var seconds = StepSeconds()
      for part in StepPart.allCases { seconds[part] = values[part.rawValue] }
      return seconds
    }
    evaluations = all.map { $0[StepPart.allCases.count] }
    hosts = try communicator.allGather(Array(communicator.host.utf8)).map { String(decoding: $0, as: UTF8.self) }
    steps = engine.optimizer.step
    precision = engine.precision
    isLarge = engine.model.configuration.hiddenSize >= 256
  }

  package init(
    ranks: [StepSeconds], evaluations: [Double], hosts: [String], steps: Int, precision: ProductPrecision, isLarge: Bool
  ) {
    self.ranks = ranks
    self.evaluations = evaluations
    self.hosts = hosts
    self.steps = steps
    self.precision = precision
    self.isLarge = isLarge
  }

  private func mean(_ value: (StepSeconds) -> Double) -> Double {
    ranks.reduce(0) { $0 + value($1) } / Double(ranks.count)
  }
  private var evaluation: Double { evaluations.reduce(0, +) / Double(evaluations.count) }
  /// Seconds of steps and evaluation; the divisor of shares, hence never 0.
  private var total: Double { max(mean(\.total) + evaluation, 1e-9) }
  private func share(_ part: StepPart) -> Double { mean { $0[part] } / total }

  /// Of the time of all ranks' steps, the share that each spent on its own work.
  public var efficiency: Double { mean(\.ownWork) / max(mean(\.total), 1e-9) }

  /// The rank whose own work took longest.
  public var slowestRank: Int { ranks.indices.max { ranks[$0].ownWork < ranks[$1].ownWork } ?? 0 }

  /// Five lines: time by kind, a step, efficiency over the ranks, the slowest rank, what would help most.
  public var lines: [(name: String, value: String)] {
    let milliseconds = 1e3 / Double(max(steps, 1))
    let kinds =
      StepPart.allCases.map { "\($0.name) \(percent(share($0)))" } + ["evaluation \(percent(evaluation / total))"]
    let parts = StepPart.allCases.map { part in
      "\(part.name) \(formatted(mean { $0[part] } * milliseconds, digits: 1))"
    }
    return [
      ("time", kinds.joined(separator: ", ")),
      ("a step", "\(formatted(mean(\.total) * milliseconds, digits: 1)) ms: \(parts.joined(separator: ", "))"),
      (
        "efficiency",
        "\(percent(efficiency)) over \(ranks.count) rank\(ranks.count == 1 ? "" : "s"): own work, of the time of all steps"
      ),
      ("slowest rank", slowest),
      ("would help", advice),
    ]
  }

  private var slowest: String {
    let (rank, least) = (slowestRank, ranks.map(\.ownWork).min() ?? 0)
    guard ranks.count > 1 else { return "0 (host \(hosts[0])), the only one" }
    let more = least > 0 ? ranks[rank].ownWork / least - 1 : 0
    return "\(rank) (host \(hosts[rank])), \(percent(more)) longer at its own work than the fastest"
  }

  // MARK: What would help most

  /// Of the changes that are known, the one that would save the most time by these numbers.
  private var advice: String {
    let waiting = share(.waiting)
    let lag = (ranks[slowestRank].ownWork - mean(\.ownWork)) / total
    let (communication, optimizer) = (share(.communication), share(.optimizer))
    let products = share(.forward) + share(.backward)
    var choices: [(saved: Double, text: String)] = [
      (
        min(lag, waiting),
        "waiting \(percent(waiting)): rank \(slowestRank) (host \(hosts[slowestRank])) is slow; see what else runs there"
      ),
      (
        waiting - max(0, min(lag, waiting)),
        "waiting \(percent(waiting)), now for one rank, now for another: more rows a batch (--batch-size) even them out"
      ),
      (
        communication / 2,
        "sums over hosts \(percent(communication)): more rows a step (--batch-size, --gradient-accumulation-steps), or --ddp-comm-hook bf16"
      ),
      (optimizer / 2, "optimizer \(percent(optimizer)): more rows a step (--batch-size)"),
      (share(.data), "data \(percent(share(.data))): the rows are fetched slowly; see whether memory is short"),
      (
        evaluation / total / 2, "evaluation \(percent(evaluation / total)): more rows a batch in it (--eval-batch-size)"
      ),
    ]
    // Measured with AMX: in bf16 bert-base's forward and backward take 0.65 times as long (docs/performance.md).
    if precision != .bf16 && isLarge && ProductPrecision.isBF16Fast {
      choices.append((0.35 * products, "forward and backward \(percent(products)): bf16 (--mixed-precision bf16)"))
    }
    // Nothing else is left: the time is the work.
    let best = choices.max { $0.saved < $1.saved }
    guard let best, best.saved >= 0.03 else {
      return "more cores or hosts: \(percent(products)) is forward and backward"
    }
    return best.text
  }

  private func percent(_ share: Double) -> String { "\(formatted(100 * share, digits: 1)) %" }
}
