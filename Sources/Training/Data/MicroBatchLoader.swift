import BERT
import DataParallel
import Datasets
import Kernels
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
  /// Rows of this micro-batch over all ranks.
  public let rowsInRound: Int
  /// The groups that this rank's rows are, where gradients are added by groups.
  public let groups: RowGroups?
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
  /// How rounds are cut into groups of rows; nil where each rank's rows are those of `plan`.
  public let grouping: RowGroupPlan?
  private let ranks: Int

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
    grouping = nil
    ranks = plan.ranks
  }

  /// The loader of a rank whose rows are groups, so that their gradients can be added in an order that does not depend on
  /// the ranks.
  ///
  /// - Parameters:
  ///   - plan: of all ranks together as if they were one.
  ///   - ranks: of the job.
  /// - Throws: as above.
  public init(
    inGroups dataset: TokenizedDataset, plan: ShardPlan, rank: Int, ranks: Int, order: Order = .file,
    accumulationSteps: Int = 1
  ) throws(Failure) {
    precondition(plan.ranks == 1, "a plan of \(plan.ranks) ranks, expected all of them as one")
    // Checks the numbers.
    _ = try MicroBatchLoader(dataset, plan: plan, rank: 0, order: order, accumulationSteps: accumulationSteps)
    self.dataset = dataset
    self.plan = plan
    self.rank = rank
    self.order = order
    self.accumulationSteps = accumulationSteps
    self.ranks = ranks
    // A short data set may have no full round.
    grouping = RowGroupPlan(
      globalBatchSize: plan.globalBatchSize, lastRows: plan.steps == 0 ? 0 : plan.rowCount(step: plan.steps - 1))
  }

  /// Rows of the largest batch of a rank.
  public var mostRowsOfRank: Int { grouping?.mostRows(ranks: ranks) ?? plan.mostRowsOfRank }

  /// Optimizer steps of an epoch.
  public var stepsPerEpoch: Int { (plan.steps + accumulationSteps - 1) / accumulationSteps }

  /// The most that one batch can hold: what an `TrainingEngine` for this loader needs.
  public var limits: BatchLimits {
    let rows = mostRowsOfRank
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
      let (rows, groups) = share(step: step, rowOrder)
      return MicroBatch(
        dataset: dataset, rows: rows, rowsInStep: window.reduce(0) { $0 + plan.rowCount(step: $1) },
        isLastInStep: step == window.upperBound - 1, rowsInRound: plan.rowCount(step: step), groups: groups)
    }
  }

  /// This rank's rows at a step, and the groups that they are.
  private func share(step: Int, _ rowOrder: [Int]) -> (rows: [Int], groups: RowGroups?) {
    guard let grouping else { return (plan.batch(step: step, rank: rank, order: rowOrder), nil) }
    let all = plan.batch(step: step, rank: 0, order: rowOrder)
    let share = grouping.share(rank: rank, ranks: ranks, rows: all.count)
    return (Array(all[share.places]), share.groups)
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
