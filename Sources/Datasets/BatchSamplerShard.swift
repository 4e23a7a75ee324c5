import FileSystem

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
    guard let batchSize, let first = batches.first, let last = batches.last else { return [] }
    let piece = batchSize / ranks
    func slice(_ batch: [Int]) -> [Int] { Array(batch.dropFirst(piece * rank).prefix(piece)) }
    var shard = batches.filter { $0.count == batchSize }.map(slice)
    guard !dropLast, last.count < batchSize else { return shard }
    if evenBatches {
      shard.append(slice(last + doubled(first, to: batchSize)))
    } else if last.count > piece * rank {
      shard.append(slice(last))
    }
    return shard
  }

  /// Every `ranks`-th batch.
  private func wholeShard(_ rank: Int) -> [[Int]] {
    func isFull(_ batch: [Int]) -> Bool { batchSize == nil || batch.count == batchSize }
    var shard: [[Int]] = []
    var held: [Int]?
    for (index, batch) in batches.enumerated() {
      if index % ranks == rank { held = batch }
      // A batch is given out once its round is complete and full.
      if index % ranks == ranks - 1 && isFull(batch), let ready = held {
        shard.append(ready)
        held = nil
      }
    }
    guard !dropLast, let last = batches.last else { return shard }
    guard evenBatches else { return shard + (held.map { [$0] } ?? []) }
    if let held, isFull(held) { shard.append(held) }
    var index = isFull(last) ? batches.count : batches.count - 1
    guard let batchSize else {
      let firsts = doubled(Array(batches.prefix(ranks)), to: ranks)
      var cursor = 0
      while index % ranks != 0 {
        if index % ranks == rank { shard.append(firsts[cursor]) }
        cursor += 1
        index += 1
      }
      return shard
    }
    let fill = doubled(batches.prefix(ranks).flatMap { $0 }, to: ranks * batchSize)
    var batch = isFull(last) ? [] : last
    var cursor = 0
    while index % ranks != 0 || !batch.isEmpty {
      let end = cursor + batchSize - batch.count
      batch += fill[cursor..<end]
      if index % ranks == rank { shard.append(batch) }
      cursor = end
      batch = []
      index += 1
    }
    return shard
  }

  private func doubled<Element>(_ list: [Element], to count: Int) -> [Element] {
    var list = list
    while list.count < count { list += list }
    return list
  }
}
