import BERT
import Datasets
import System

/// A rank's share of one micro-batch.
public struct MicroBatch: Sendable {
  public let dataset: TokenizedDataset
  /// This rank's rows of the data set; may be none in a short last round.
  public let rows: [Int]
  /// Rows of the whole accumulation window over all ranks: the loss of each counts 1 / rowsInStep.
  public let rowsInStep: Int
  /// Whether the optimizer steps after this micro-batch (Accelerate's `sync_gradients`).
  public let isLastInStep: Bool
}

/// The rows of a data set as one rank gets them, epoch by epoch: a pure function of the seed, the epoch and the step.
public struct MicroBatchLoader: Sendable {
  /// In which order an epoch visits the rows.
  public enum Order: Sendable, Equatable {
    case file
    /// Accelerate's `SeedableRandomSampler` with this seed.
    case shuffled(seed: Int)
  }

  public let dataset: TokenizedDataset
  public let plan: ShardPlan
  public let rank: Int
  public let order: Order
  /// Micro-batches of one optimizer step; the last window of an epoch may have fewer.
  public let accumulationSteps: Int

  /// - Throws: `.usage` where the number of accumulation steps is not positive, or a batch may have too many tokens.
  public init(
    _ dataset: TokenizedDataset, plan: ShardPlan, rank: Int, order: Order = .file, accumulationSteps: Int = 1
  ) throws(Failure) {
    guard accumulationSteps >= 1 else {
      throw Failure(.usage, "gradient accumulation over \(accumulationSteps) steps, expected at least 1")
    }
    let (rows, tokens) = (plan.mostRowsOfRank, dataset.mostTokens(inRows: plan.mostRowsOfRank))
    guard tokens <= Int32.max else {
      throw Failure(
        .usage, "a batch of \(rows) rows may have \(tokens) tokens, expected at most \(Int32.max)",
        hint: "a smaller batch size")
    }
    self.dataset = dataset
    self.plan = plan
    self.rank = rank
    self.order = order
    self.accumulationSteps = accumulationSteps
  }

  /// Optimizer steps of an epoch.
  public var stepsPerEpoch: Int { (plan.steps + accumulationSteps - 1) / accumulationSteps }

  /// The most that one batch can hold: what an `TrainingEngine` for this loader needs.
  public var limits: BatchLimits {
    let rows = plan.mostRowsOfRank
    return BatchLimits(tokens: dataset.mostTokens(inRows: rows), sequences: rows, length: dataset.longestRow)
  }

  /// This rank's micro-batches of an epoch, in order.
  public func epoch(_ epoch: Int) -> some Sequence<MicroBatch> {
    let rowOrder =
      switch order {
      case .file: Array(0..<dataset.count)
      case .shuffled(let seed): shuffledOrder(count: dataset.count, seed: seed, epoch: epoch)
      }
    return (0..<plan.steps).lazy.map { step in
      let start = step / accumulationSteps * accumulationSteps
      let window = start..<Swift.min(start + accumulationSteps, plan.steps)
      return MicroBatch(
        dataset: dataset, rows: plan.batch(step: step, rank: rank, order: rowOrder),
        rowsInStep: window.reduce(0) { $0 + plan.rowCount(step: $1) }, isLastInStep: step == window.upperBound - 1)
    }
  }
}

extension TokenizedDataset {
  /// The most tokens that a batch of `count` rows can have; rows repeat only where the data set has fewer.
  public func mostTokens(inRows count: Int) -> Int {
    guard self.count > 0 else { return 0 }
    let (rounds, rest) = count.quotientAndRemainder(dividingBy: self.count)
    let longest = rest == 0 ? 0 : (0..<self.count).map { tokens($0).count }.sorted(by: >).prefix(rest).reduce(0, +)
    return rounds * inputIDs.count + longest
  }
}
