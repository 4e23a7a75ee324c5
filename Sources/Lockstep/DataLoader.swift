import BERT
import Datasets
import System

/// That a loader's rows are dealt out to the ranks of an accelerator.
final class Placement {
  let accelerator: Accelerator

  init(_ accelerator: Accelerator) { self.accelerator = accelerator }
}

/// The rows of a data set in batches, epoch by epoch: torch's `DataLoader`. `Accelerator.prepare` makes it give each rank
/// its share of them.
///
/// Each `for batch in loader` is an epoch. The batches are a function of the sampler's order, the epoch and the number of
/// ranks: in a full round, batch `i` of one process is batch `i / ranks` of rank `i % ranks`.
public final class DataLoader: Sequence, Preparable {
  public let dataset: TokenizedDataset
  /// Rows of a batch of one rank; where the accelerator splits batches, of all ranks together.
  public let batchSize: Int
  /// What happens to the rows of the last round that do not fill a batch on every rank.
  public let tail: TailPolicy
  let sampler: any Sampler
  private(set) var placement: Placement?
  private var plan: ShardPlan
  private var rank = 0
  private let skipped: Int
  /// The epoch that the next loop walks through, from 0. A loop that goes to its end counts it on.
  public var epoch = 0
  /// The largest batch of any epoch.
  private(set) var limits: BatchLimits
  /// Whoever holds a batch keeps it; the others are filled again.
  private var pool: [Batch] = []

  /// A loader in the data set's order, or in another one each epoch.
  ///
  /// - Parameters:
  ///   - dataset: the rows, the same on every rank.
  ///   - batchSize: rows of a batch of one rank.
  ///   - shuffle: in the order of ``RandomSampler``.
  ///   - seed: of that order.
  ///   - tail: what happens to the rows of the last round; by default they are dealt out evenly, none twice.
  /// - Throws: `.usage` where the batch size is not positive or too large.
  public convenience init(
    _ dataset: TokenizedDataset, batchSize: Int, shuffle: Bool = false, seed: Int = 42, tail: TailPolicy = .exact
  ) throws(Failure) {
    let sampler: any Sampler =
      shuffle ? RandomSampler(count: dataset.count, seed: seed) : SequentialSampler(count: dataset.count)
    try self.init(dataset, batchSize: batchSize, sampler: sampler, tail: tail)
  }

  /// A loader in an order of the caller's own.
  public convenience init(
    _ dataset: TokenizedDataset, batchSize: Int, sampler: any Sampler, tail: TailPolicy = .exact
  ) throws(Failure) {
    try self.init(dataset, batchSize: batchSize, sampler: sampler, tail: tail, skipped: 0)
  }

  private init(
    _ dataset: TokenizedDataset, batchSize: Int, sampler: any Sampler, tail: TailPolicy, skipped: Int
  ) throws(Failure) {
    self.dataset = dataset
    self.batchSize = batchSize
    self.sampler = sampler
    self.tail = tail
    self.skipped = skipped
    plan = try Self.plan(rows: sampler.count, batchSize: batchSize, tail: tail)
    limits = try Self.limits(of: dataset, rows: plan.mostRowsOfRank, sampler)
  }

  private static func plan(
    rows: Int, batchSize: Int, ranks: Int = 1, splits: Bool = false, tail: TailPolicy
  ) throws(Failure) -> ShardPlan {
    // With fewer rows than ranks some have none.
    try ShardPlan(
      datasetSize: rows, batchSize: batchSize, ranks: ranks, splitBatches: splits,
      uneven: tail == .exact && rows < ranks ? .ragged : tail)
  }

  private static func limits(
    of dataset: TokenizedDataset, rows: Int, _ sampler: any Sampler
  ) throws(Failure) -> BatchLimits {
    let visitsAllOnce = sampler is SequentialSampler || sampler is RandomSampler
    let tokens = visitsAllOnce ? dataset.mostTokens(inRows: rows) : rows * dataset.longestRow
    guard tokens <= Int32.max else {
      throw Failure(
        .usage, "a batch of \(rows) rows may have \(tokens) tokens, expected at most \(Int32.max)",
        hint: "a smaller batch size")
    }
    return BatchLimits(tokens: tokens, sequences: rows, length: dataset.longestRow)
  }

  /// Batches of an epoch, the same number on every rank: torch's `len(loader)`.
  public var count: Int { Swift.max(0, plan.steps - skipped) }

  /// Optimizer steps of an epoch; fewer than `count` where gradients are accumulated.
  public var stepsPerEpoch: Int {
    let window = placement?.accelerator.gradientAccumulationSteps ?? 1
    return (count + window - 1) / window
  }

  /// Deals the rows out to the ranks. Again for the same accelerator changes nothing.
  func prepare(for accelerator: Accelerator) throws(Failure) {
    if let placement {
      guard placement.accelerator === accelerator else {
        throw misuse("Accelerator.prepare", "the loader was prepared by another accelerator")
      }
      return
    }
    plan = try Self.plan(
      rows: sampler.count, batchSize: batchSize, ranks: accelerator.numProcesses, splits: accelerator.splitBatches,
      tail: tail)
    limits = try Self.limits(of: dataset, rows: plan.mostRowsOfRank, sampler)
    rank = accelerator.processIndex
    placement = Placement(accelerator)
    pool = []
  }

  /// The same loader without the first batches of each epoch, for an epoch that was begun earlier: Accelerate's
  /// `skip_first_batches`. Accumulation windows begin behind them.
  public func skippingFirst(_ batches: Int) throws(Failure) -> DataLoader {
    guard batches >= 0 else {
      throw misuse("DataLoader.skippingFirst", "\(batches) batches, expected 0 or more")
    }
    let other = try DataLoader(dataset, batchSize: batchSize, sampler: sampler, tail: tail, skipped: skipped + batches)
    if let placement { try other.prepare(for: placement.accelerator) }
    other.epoch = epoch
    return other
  }

  public func makeIterator() -> Iterator { Iterator(self) }

  /// One epoch's batches of this rank.
  public struct Iterator: IteratorProtocol {
    private let loader: DataLoader
    private let order: [Int]
    private var step: Int
    private var rows: [Int] = []
    private var problem: Failure?

    init(_ loader: DataLoader) {
      self.loader = loader
      order = loader.sampler.order(epoch: loader.epoch)
      step = loader.skipped
      let strays = order.count { !(0..<loader.dataset.count ~= $0) }
      guard strays > 0 || order.count != loader.plan.datasetSize else { return }
      problem = misuse(
        "Sampler.order",
        "gave \(order.count) rows, \(strays) of them outside the data set, expected "
          + "\(loader.plan.datasetSize) rows of 0 to \(loader.dataset.count - 1)")
    }

    public mutating func next() -> Batch? {
      guard step < loader.plan.steps else {
        if step == loader.plan.steps { loader.epoch += 1 }
        step = loader.plan.steps + 1
        return nil
      }
      let batch = loader.unusedBatch()
      batch.problem = problem
      if problem == nil {
        loader.fill(batch, step: step, order: order, &rows)
      } else {
        batch.content.fill(from: loader.dataset, rows: [])
      }
      step += 1
      return batch
    }
  }

  /// A batch that nobody holds.
  private func unusedBatch() -> Batch {
    for index in pool.indices where isKnownUniquelyReferenced(&pool[index]) { return pool[index] }
    let batch = Batch(dataset, limits, placement)
    // The loop holds one, a model another, until its backward.
    if pool.count < 3 { pool.append(batch) }
    return batch
  }

  private func fill(_ batch: Batch, step: Int, order: [Int], _ rows: inout [Int]) {
    plan.fillBatch(&rows, step: step, rank: rank, order: order)
    batch.content.fill(from: dataset, rows: rows)
    let windowSteps = placement?.accelerator.gradientAccumulationSteps ?? 1
    let first = skipped + (step - skipped) / windowSteps * windowSteps
    let window = first..<Swift.min(first + windowSteps, plan.steps)
    batch.rowsInStep = window.reduce(0) { $0 + plan.rowCount(step: $1) }
    batch.ownWindowRows = window.reduce(0) { $0 + plan.rowCount(step: $1, rank: rank) }
    batch.isLastInStep = step == window.upperBound - 1
    batch.globalCount = plan.rowCount(step: step)
    batch.ownCount =
      plan.slots(step: step, rank: rank).clamped(
        to: 0..<Swift.max(0, plan.datasetSize - step * plan.globalBatchSize)
      ).count
    placement?.accelerator.currentBatch = batch
  }
}
