import Datasets
import System
import Testing

/// Every small epoch, against a second way to the same rows: of ``BatchSamplerShard``, Accelerate's walk through the
/// batches step by step, written down here as it is published.
@Suite("All small epochs") struct AccelerateSweepTests {
  static let ranks = [1, 2, 3, 4, 5]

  @Test("are dealt as Accelerate deals them, batches larger than the data set included", arguments: ranks)
  func sweep(ranks: Int) throws {
    for rows in 0...13 {
      for batchSize in 1...15 {
        for split in batchSize % ranks == 0 ? [false, true] : [false] {
          for (remainder, even, drop) in [(.pad, true, false), (.ragged, false, false), (.drop, true, true)]
            as [(TailPolicy, Bool, Bool)]
          {
            let order = shuffledOrder(count: rows, seed: rows, epoch: batchSize)
            let plan = try ShardPlan(
              datasetSize: rows, batchSize: batchSize, ranks: ranks, splitBatches: split, uneven: remainder)
            let shards = try BatchSamplerShard(
              order: order, batchSize: batchSize, ranks: ranks, splitBatches: split, evenBatches: even, dropLast: drop)
            let batches = torchBatches(order, batchSize, dropLast: drop)
            for rank in 0..<ranks {
              let what: Comment = "\(rows) rows by \(batchSize) on \(rank) of \(ranks), split \(split), \(remainder)"
              let expected =
                ranks == 1
                ? batches
                : split
                  ? splitWalk(batches, batchSize, rank, ranks, dropLast: drop, even: even)
                  : wholeWalk(batches, batchSize, rank, ranks, dropLast: drop, even: even)
              #expect(shards.batches(rank: rank) == expected, what)
              let planned = (0..<plan.steps).map { plan.batch(step: $0, rank: rank, order: order) }
              #expect(planned.filter { !$0.isEmpty } == expected, what)
              #expect(planned.allSatisfy { $0.count <= plan.mostRowsOfRank }, what)
            }
          }
        }
      }
    }
  }

  private func torchBatches(_ order: [Int], _ size: Int, dropLast: Bool) -> [[Int]] {
    stride(from: 0, to: order.count, by: size).map { Array(order[$0..<min($0 + size, order.count)]) }
      .filter { $0.count == size || !dropLast }
  }

  /// Accelerate's `_iter_with_split`.
  private func splitWalk(
    _ batches: [[Int]], _ size: Int, _ rank: Int, _ ranks: Int, dropLast: Bool, even: Bool
  ) -> [[Int]] {
    let length = size / ranks
    var result: [[Int]] = []
    for batch in batches where batch.count == size { result.append(Array(batch[length * rank..<length * (rank + 1)])) }
    guard !dropLast, var last = batches.last, last.count < size else { return result }
    if !even {
      if last.count > length * rank { result.append(Array(last[length * rank..<min(last.count, length * (rank + 1))])) }
    } else {
      var initial = batches[0]
      while initial.count < size { initial += initial }
      last += initial
      result.append(Array(last[length * rank..<length * (rank + 1)]))
    }
    return result
  }

  /// Accelerate's `_iter_with_no_split`.
  private func wholeWalk(
    _ batches: [[Int]], _ size: Int, _ rank: Int, _ ranks: Int, dropLast: Bool, even: Bool
  ) -> [[Int]] {
    var result: [[Int]] = []
    var initial: [Int] = []
    var held: [Int] = []
    for (index, batch) in batches.enumerated() {
      if !dropLast && index < ranks { initial += batch }
      if index % ranks == rank { held = batch }
      if index % ranks == ranks - 1 && batch.count == size {
        result.append(held)
        held = []
      }
    }
    guard !dropLast, !initial.isEmpty, var batch = batches.last else { return result }
    if !even {
      if !held.isEmpty { result.append(held) }
      return result
    }
    if held.count == size { result.append(held) }
    while initial.count < ranks * size { initial += initial }
    var index = batches.count - 1
    if batch.count == size {
      batch = []
      index += 1
    }
    var cursor = 0
    while index % ranks != 0 || !batch.isEmpty {
      let end = cursor + size - batch.count
      batch += initial[cursor..<end]
      if index % ranks == rank { result.append(batch) }
      cursor = end
      batch = []
      index += 1
    }
    return result
  }
}
