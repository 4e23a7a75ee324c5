import Collectives
import System

/// Where the time of a run went, over all ranks, and what would help most.
public struct TimeReport: Sendable {
  /// Each rank's steps, all together.
  let ranks: [StepSeconds]
  /// Each rank's evaluations.
  let evaluations: [Double]
  let hosts: [String]
  let steps: Int
  /// The share of forward and backward that a faster precision would save here.
  let savedByFasterPrecision: Double

  /// Everybody's times. Called by all ranks.
  ///
  /// - Parameters:
  ///   - own: of all steps of this rank.
  ///   - evaluation: seconds of this rank's evaluations.
  ///   - savedByFasterPrecision: the share of forward and backward that a faster precision would save; 0 where there is none.
  package init(
    _ own: StepSeconds, evaluation: Double, steps: Int, savedByFasterPrecision: Double, _ communicator: any Communicator
  ) throws(Failure) {
    let all = try communicator.allGather(StepPart.allCases.map { own[$0] } + [evaluation])
    let ranks = all.map { values in
      var seconds = StepSeconds()
      for part in StepPart.allCases { seconds[part] = values[part.rawValue] }
      return seconds
    }
    let hosts = try communicator.allGather(Array(communicator.host.utf8)).map { String(decoding: $0, as: UTF8.self) }
    self.init(
      ranks: ranks, evaluations: all.map { $0[StepPart.allCases.count] }, hosts: hosts, steps: steps,
      savedByFasterPrecision: savedByFasterPrecision)
  }

  package init(
    ranks: [StepSeconds], evaluations: [Double], hosts: [String], steps: Int, savedByFasterPrecision: Double
  ) {
    self.ranks = ranks
    self.evaluations = evaluations
    self.hosts = hosts
    self.steps = steps
    self.savedByFasterPrecision = savedByFasterPrecision
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

  /// Four lines: time by kind, a step, efficiency over the ranks, the slowest rank.
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
    ]
  }

  private var slowest: String {
    let (rank, least) = (slowestRank, ranks.map(\.ownWork).min() ?? 0)
    guard ranks.count > 1 else { return "0 (host \(hosts[0])), the only one" }
    let more = least > 0 ? ranks[rank].ownWork / least - 1 : 0
    return "\(rank) (host \(hosts[rank])), \(percent(more)) longer at its own work than the fastest"
  }

  // MARK: What would help most

  /// What most of the time that could be saved goes to.
  public enum Bottleneck: Sendable, Equatable {
    /// All wait for one rank.
    case slowRank(Int, host: String)
    /// Ranks wait now for one, now for another: their batches take unequally long.
    case unevenBatches
    /// Sums over hosts.
    case sumsOverHosts
    case optimizer
    /// Fetching rows.
    case data
    case evaluation
    /// Forward and backward, which a faster precision would shorten.
    case precision
    /// Nothing that a setting changes: the time is the work of forward and backward.
    case work
  }

  /// Of what is known to cost time, what would save the most by these numbers, and its share of the time.
  public var bottleneck: (cause: Bottleneck, share: Double) {
    let waiting = share(.waiting)
    let lag = (ranks[slowestRank].ownWork - mean(\.ownWork)) / total
    let products = share(.forward) + share(.backward)
    let candidates: [(cause: Bottleneck, saved: Double, share: Double)] = [
      (.slowRank(slowestRank, host: hosts[slowestRank]), min(lag, waiting), waiting),
      (.unevenBatches, waiting - max(0, min(lag, waiting)), waiting),
      (.sumsOverHosts, share(.communication) / 2, share(.communication)),
      (.optimizer, share(.optimizer) / 2, share(.optimizer)),
      (.data, share(.data), share(.data)),
      (.evaluation, evaluation / total / 2, evaluation / total),
      (.precision, savedByFasterPrecision * products, products),
    ]
    let best = candidates.max { $0.saved < $1.saved }
    guard let best, best.saved >= 0.03 else { return (.work, products) }
    return (best.cause, best.share)
  }

  private func percent(_ share: Double) -> String { "\(formatted(100 * share, digits: 1)) %" }
}
