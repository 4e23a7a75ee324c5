import System

/// What happens to the rows of the last round that do not fill a batch on every rank.
public enum TailPolicy: String, Sendable, CaseIterable {
  /// They are dealt as evenly as can be: no row twice, none left out.
  case exact
  /// The round is filled with rows from the epoch's beginning: Accelerate's `even_batches`.
  case pad
  /// They are left out: Accelerate's `drop_last`.
  case drop
  /// Ranks take full batches in turn until there are no rows: Accelerate without `even_batches`.
  case ragged
}

/// Which rows each rank takes at each step, as a pure function of the step.
///
/// An epoch is cut into rounds of ``globalBatchSize`` rows in order; in a full round rank `r` takes the rows from
/// `r * rankBatchSize` on, so batch `i` of one process is batch `i / ranks` of rank `i % ranks`.
public struct ShardPlan: Sendable, Equatable {
  public let datasetSize: Int
  public let ranks: Int
  public let remainder: TailPolicy
  /// Rows of a full batch of one rank; of the largest where a round is not split evenly.
  public let rankBatchSize: Int
  /// Rows of a full round over all ranks.
  public let globalBatchSize: Int
  /// Rounds in an epoch.
  public let steps: Int

  /// No batch is larger, and no more ranks share one: what is asked for beyond is a slip of the finger, and would be
  /// allocated.
  public static let largestBatch = 1 << 20
  public static let mostRanks = 1 << 16

  /// `batchSize` is a rank's, or with `splitBatches` that of all ranks together. With `splitsUnevenly`, which needs both
  /// `splitBatches` and `.exact`, it need not be a multiple of the ranks: the first ones get a row more.
  ///
  /// Throws `.usage` where a number is not positive or too large, the batch cannot be split, or (exact) ranks would never get a row.
  public init(
    datasetSize: Int, batchSize: Int, ranks: Int, splitBatches: Bool = false, uneven remainder: TailPolicy = .exact,
    splitsUnevenly: Bool = false
  ) throws(Failure) {
    precondition(!splitsUnevenly || splitBatches && remainder == .exact, "an uneven split of \(remainder) batches")
    func check(_ value: Int, _ name: String, atMost most: Int) throws(Failure) {
      guard value >= 1 else { throw Failure(.usage, "\(name) is \(value), expected at least 1") }
      guard value <= most else { throw Failure(.usage, "\(name) is \(value), expected at most \(most)") }
    }
    try check(ranks, "the number of processes", atMost: Self.mostRanks)
    try check(batchSize, "the batch size", atMost: splitBatches ? Self.largestBatch * ranks : Self.largestBatch)
    guard datasetSize >= 0 else { throw Failure(.usage, "the dataset size is \(datasetSize), expected at least 0") }
    guard !splitBatches || splitsUnevenly || batchSize % ranks == 0 else {
      throw Failure(
        .usage, "the batch size \(batchSize) cannot be split over \(ranks) processes, expected a multiple of \(ranks)")
    }
    guard remainder != .exact || ranks <= datasetSize else {
      throw Failure(.usage, "\(ranks) processes for \(datasetSize) rows, expected at most one process a row")
    }
    self.datasetSize = datasetSize
    self.ranks = ranks
    self.remainder = remainder
    rankBatchSize = splitBatches ? (batchSize + ranks - 1) / ranks : batchSize
    globalBatchSize = splitBatches ? batchSize : batchSize * ranks
    let hasTail = datasetSize % globalBatchSize != 0 && remainder != .drop
    steps = datasetSize / globalBatchSize + (hasTail ? 1 : 0)
  }

  /// Rows of the round `step` over all ranks, rows that fill up included.
  public func rowCount(step: Int) -> Int {
    isShort(step) && !isPadded ? datasetSize % globalBatchSize : globalBatchSize
  }

  /// Rows of the round `step` on `rank`; 0 where the short last round leaves it without.
  public func rowCount(step: Int, rank: Int) -> Int { slots(step: step, rank: rank).count }

  /// Rows of the largest batch of any rank.
  public var mostRowsOfRank: Int { steps == 0 ? 0 : rowCount(step: 0, rank: 0) }

  /// Where the rows of `rank` are in the round `step`, from 0; the ranks' ranges follow one another.
  public func slots(step: Int, rank: Int) -> Range<Int> {
    precondition((0..<steps).contains(step) && (0..<ranks).contains(rank), "step \(step), rank \(rank) of \(self)")
    let first = rank * rankBatchSize
    let isFull = !isShort(step) || isPadded
    guard !isFull || rankBatchSize * ranks != globalBatchSize else { return first..<first + rankBatchSize }
    let left = isFull ? globalBatchSize : datasetSize % globalBatchSize
    guard remainder == .exact else { return min(first, left)..<min(first + rankBatchSize, left) }
    let share = left / ranks
    let larger = left % ranks
    let start = rank * share + min(rank, larger)
    return start..<start + share + (rank < larger ? 1 : 0)
  }

  /// The rows of `rank` at `step`; `order` is the epoch's order of all rows.
  public func batch(step: Int, rank: Int, order: [Int]) -> [Int] {
    var rows: [Int] = []
    fillBatch(&rows, step: step, rank: rank, order: order)
    return rows
  }

  /// Overwrites `rows` with the rows of `rank` at `step`; allocates nothing once `rows` has held a full batch.
  public func fillBatch(_ rows: inout [Int], step: Int, rank: Int, order: [Int]) {
    precondition(order.count == datasetSize, "an order of \(order.count) rows for \(datasetSize)")
    rows.removeAll(keepingCapacity: true)
    let start = step * globalBatchSize
    // Accelerate fills up from the first round over and over, its cursor running on across ranks.
    let cycle = min(globalBatchSize, datasetSize)
    for slot in slots(step: step, rank: rank) {
      let position = start + slot
      rows.append(order[position < datasetSize ? position : (position - datasetSize) % cycle])
    }
  }

  private func isShort(_ step: Int) -> Bool { step >= datasetSize / globalBatchSize }

  /// Whether a short round is filled up; Accelerate leaves a single process as it is.
  private var isPadded: Bool { remainder == .pad && ranks > 1 }
}
