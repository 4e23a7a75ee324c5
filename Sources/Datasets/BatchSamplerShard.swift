import System

/// Accelerate's `BatchSamplerShard`, to the letter, lengths that it reports included.
///
/// ``ShardPlan`` gives the same batches without walking through the epoch; this one also takes batches of varying sizes.
public struct BatchSamplerShard: Sendable {
  public let ranks: Int
  public let splitBatches: Bool
  public let evenBatches: Bool
  public let dropLast: Bool
  /// The size that the batch sampler declares; nil where its batches vary.
  public let batchSize: Int?
  /// The batches of the whole epoch, as one process would see them.
  public let batches: [[Int]]

  /// The shards of torch's `BatchSampler` over `order`. Throws `.usage`.
  public init(
    order: [Int], batchSize: Int, ranks: Int, splitBatches: Bool = false, evenBatches: Bool = true,
    dropLast: Bool = false
  ) throws(Failure) {
    // The same demands; any policy but exact, which has one more.
    _ = try ShardPlan(
      datasetSize: order.count, batchSize: batchSize, ranks: ranks, splitBatches: splitBatches, uneven: .pad)
    var batches: [[Int]] = []
    var start = 0
    while start < order.count {
      let end = order.count - start > batchSize ? start + batchSize : order.count
      if end - start == batchSize || !dropLast { batches.append(Array(order[start..<end])) }
      start = end
    }
    self.ranks = ranks
    self.splitBatches = splitBatches
    self.evenBatches = evenBatches
    self.dropLast = dropLast
    self.batchSize = batchSize
    self.batches = batches
  }

  /// The shards of `batches` of any sizes. Throws `.usage`.
  public init(varying batches: [[Int]], ranks: Int, evenBatches: Bool, dropLast: Bool = false) throws(Failure) {
    guard ranks >= 1 else { throw Failure(.usage, "the number of processes is \(ranks), expected at least 1") }
    self.ranks = ranks
    splitBatches = false
    self.evenBatches = evenBatches
    self.dropLast = dropLast
    batchSize = nil
    self.batches = batches
  }

  /// What Python's `len` gives on `rank`. Not always the number of batches: split, uneven batches may be one fewer.
  public func reportedLength(rank: Int) -> Int {
    if splitBatches || batches.count % ranks == 0 || ranks == 1 {
      return splitBatches ? batches.count : batches.count / ranks
    }
    let length = batches.count / ranks
    if dropLast { return length }
    return evenBatches || rank < batches.count % ranks ? length + 1 : length
  }

  /// The batches of `rank`. A single process is not wrapped by Accelerate: it gets the batches as they are.
  public func batches(rank: Int) -> [[Int]] {
    if ranks == 1 { return batches }
    return splitBatches ? splitShard(rank) : wholeShard(rank)
  }

  /// A piece of every batch.
  private func splitShard(_ rank: Int) -> [[Int]] {
    guard let batchSize, let last = batches.last else { return [] }
    let piece = batchSize / ranks
    func slice(_ batch: [Int]) -> [Int] { Array(batch.dropFirst(piece * rank).prefix(piece)) }
    var shard = batches.filter { $0.count == batchSize }.map(slice)
    guard !dropLast, last.count < batchSize else { return shard }
    if evenBatches {
      let missing = batchSize - last.count
      shard.append(slice(last + (0..<missing).map { batches[0][$0 % batches[0].count] }))
    } else if last.count > piece * rank {
      shard.append(slice(last))
    }
    return shard
  }

  /// Every `ranks`-th batch.
  private func wholeShard(_ rank: Int) -> [[Int]] {
    func isFull(_ batch: [Int]) -> Bool { batchSize == nil || batch.count == batchSize }
    guard let last = batches.last else { return [] }
    let rounds = batches.count / ranks
    var shard = (0..<rounds).map { batches[$0 * ranks + rank] }
    // A batch is given out once its round is complete and full.
    var held = rounds * ranks + rank < batches.count ? batches[rounds * ranks + rank] : nil
    if rounds > 0, rounds * ranks == batches.count, !isFull(last) { held = shard.removeLast() }
    guard !dropLast else { return shard }
    guard evenBatches else { return shard + (held.map { [$0] } ?? []) }
    if let held, isFull(held) { shard.append(held) }
    if let filled = filledBatch(rank, begun: isFull(last) ? [] : last) { shard.append(filled) }
    return shard
  }

  /// The batch that completes the last round on `rank`, of rows of the first round over and over; nil where it has one.
  ///
  /// - Parameter begun: a last batch that is not full; it is filled first.
  private func filledBatch(_ rank: Int, begun: [Int]) -> [Int]? {
    let start = begun.isEmpty ? batches.count : batches.count - 1
    let place = (rank - start % ranks + ranks) % ranks
    let missing = begun.isEmpty ? (ranks - start % ranks) % ranks : ranks - start % ranks
    guard place < missing else { return nil }
    guard let batchSize else { return batches[place % min(ranks, batches.count)] }
    let isBegun = place == 0 && !begun.isEmpty
    let cursor = place == 0 ? 0 : place * batchSize - begun.count
    let firstRound = batches.prefix(ranks)
    let cycle = (firstRound.count - 1) * batchSize + firstRound[firstRound.count - 1].count
    let rows = (cursor..<cursor + batchSize - (isBegun ? begun.count : 0)).map { index in
      batches[index % cycle / batchSize][index % cycle % batchSize]
    }
    return isBegun ? begun + rows : rows
  }
}
