import Datasets
import System
import TestSupport
import Testing

@Suite struct BatchSamplerShardTests {
  /// What Accelerate 1.15 gave for `range(n)`: rank by rank the batches from `from` on, and the reported lengths.
  struct Oracle: Sendable {
    var n, batchSize, ranks: Int
    var dropLast = false
    var split = false
    var even = true
    var last: [[[Int]]]
    var lengths: [Int]
  }

  @Test(arguments: [
    Oracle(n: 21, batchSize: 3, ranks: 2, last: [[[18, 19, 20]], [[0, 1, 2]]], lengths: [4, 4]),
    Oracle(n: 21, batchSize: 3, ranks: 2, dropLast: true, last: [[[12, 13, 14]], [[15, 16, 17]]], lengths: [3, 3]),
    Oracle(n: 22, batchSize: 3, ranks: 2, last: [[[18, 19, 20]], [[21, 0, 1]]], lengths: [4, 4]),
    Oracle(n: 20, batchSize: 3, ranks: 2, last: [[[18, 19, 0]], [[1, 2, 3]]], lengths: [4, 4]),
    Oracle(n: 2, batchSize: 3, ranks: 2, last: [[[0, 1, 0]], [[1, 0, 1]]], lengths: [1, 1]),
    Oracle(n: 2, batchSize: 3, ranks: 2, dropLast: true, last: [[], []], lengths: [0, 0]),
    Oracle(n: 22, batchSize: 4, ranks: 2, split: true, last: [[[20, 21]], [[0, 1]]], lengths: [6, 6]),
    Oracle(n: 21, batchSize: 4, ranks: 2, split: true, last: [[[20, 0]], [[1, 2]]], lengths: [6, 6]),
    Oracle(n: 2, batchSize: 4, ranks: 2, split: true, last: [[[0, 1]], [[0, 1]]], lengths: [1, 1]),
    Oracle(n: 21, batchSize: 3, ranks: 2, even: false, last: [[[18, 19, 20]], [[15, 16, 17]]], lengths: [4, 3]),
    Oracle(n: 20, batchSize: 3, ranks: 2, even: false, last: [[[18, 19]], [[15, 16, 17]]], lengths: [4, 3]),
    Oracle(n: 21, batchSize: 4, ranks: 2, split: true, even: false, last: [[[20]], [[18, 19]]], lengths: [6, 6]),
    Oracle(
      n: 10, batchSize: 3, ranks: 4, last: [[[0, 1, 2]], [[3, 4, 5]], [[6, 7, 8]], [[9, 0, 1]]], lengths: [1, 1, 1, 1]),
    Oracle(
      n: 7, batchSize: 2, ranks: 3, last: [[[0, 1], [6, 0]], [[2, 3], [1, 2]], [[4, 5], [3, 4]]], lengths: [2, 2, 2]),
    Oracle(
      n: 5, batchSize: 4, ranks: 3, last: [[[0, 1, 2, 3]], [[4, 0, 1, 2]], [[3, 4, 0, 1]]], lengths: [1, 1, 1]),
  ])
  func acceleratesOwn(_ oracle: Oracle) throws {
    let shards = try shards(
      oracle.n, oracle.batchSize, oracle.ranks, split: oracle.split, even: oracle.even, drop: oracle.dropLast)
    for rank in 0..<oracle.ranks {
      #expect(Array(shards.batches(rank: rank).suffix(oracle.last[rank].count)) == oracle.last[rank], "rank \(rank)")
      #expect(shards.reportedLength(rank: rank) == oracle.lengths[rank], "rank \(rank)")
    }
    if oracle.last.allSatisfy(\.isEmpty) { #expect((0..<oracle.ranks).allSatisfy { shards.batches(rank: $0) == [] }) }
  }

  @Test func oneProcessIsNotWrapped() throws {
    #expect(try shards(5, 2, 1).batches(rank: 0) == [[0, 1], [2, 3], [4]])
    #expect(try shards(5, 2, 1, drop: true).batches(rank: 0) == [[0, 1], [2, 3]])
    #expect(try shards(5, 2, 1).reportedLength(rank: 0) == 3)
  }

  @Test func batchesOfVaryingSizes() throws {
    let batches = [[0, 1, 2], [3, 4], [5, 6, 7, 8], [9, 10, 11], [12, 13]]
    let uneven = try BatchSamplerShard(varying: batches, ranks: 2, evenBatches: false)
    #expect(uneven.batches(rank: 0) == [[0, 1, 2], [5, 6, 7, 8], [12, 13]])
    #expect(uneven.batches(rank: 1) == [[3, 4], [9, 10, 11]])
    let even = try BatchSamplerShard(varying: batches, ranks: 2, evenBatches: true)
    #expect(even.batches(rank: 1) == [[3, 4], [9, 10, 11], [0, 1, 2]])
    let dropped = try BatchSamplerShard(varying: batches, ranks: 2, evenBatches: true, dropLast: true)
    #expect(dropped.batches(rank: 0) == [[0, 1, 2], [5, 6, 7, 8]])
    let few = try BatchSamplerShard(varying: [[7, 8]], ranks: 3, evenBatches: true)
    #expect((0..<3).map { few.batches(rank: $0) } == [[[7, 8]], [[7, 8]], [[7, 8]]])
  }

  @Test func refusals() {
    for (batch, ranks, split) in [(0, 1, false), (4, 0, false), (4, 3, true)] {
      let failure = failure { () throws(Failure) in
        try BatchSamplerShard(order: [0, 1], batchSize: batch, ranks: ranks, splitBatches: split)
      }
      #expect(failure?.status == .usage)
    }
    let varying = failure { () throws(Failure) in try BatchSamplerShard(varying: [[1]], ranks: 0, evenBatches: true) }
    #expect(varying?.status == .usage)
  }

  private func shards(
    _ n: Int, _ batchSize: Int, _ ranks: Int, split: Bool = false, even: Bool = true, drop: Bool = false
  ) throws -> BatchSamplerShard {
    try BatchSamplerShard(
      order: Array(0..<n), batchSize: batchSize, ranks: ranks, splitBatches: split, evenBatches: even, dropLast: drop)
  }
}
