import Datasets
import TestSupport
import Testing

/// Everything that Accelerate was seen to do, against both ways of sharding.
@Suite(.needs(.reference))
struct ReferenceTests {
  struct Shards: Decodable {
    var datasetSize, batchSize, numProcesses: Int
    var evenBatches, splitBatches, dropLast: Bool
    var shards: [[[Int]]]
  }

  struct Oracles: Decodable {
    struct Sampler: Decodable {
      var n, batchSize, numProcesses: Int
      var dropLast, splitBatches, evenBatches: Bool
      var shards: [[[Int]]]
      var reportedLen: [Int]
    }
    struct Varying: Decodable {
      var batches: [[Int]]
      var numProcesses: Int
      var evenBatches: Bool
      var dropLast: Bool?
      var shards: [[[Int]]]
    }
    struct Lengths: Decodable {
      var n, batchSize, numProcesses, samplesSeen: Int
      var lenPerRank, dropLastLen, unevenLen: [Int]
    }
    struct Permutation: Decodable { var seed, n: Int, perm: [Int] }
    struct Sampled: Decodable { var n, dataSeed, epoch: Int, first16, last4: [Int] }
    var batchSamplerShard: [Sampler]
    var varyingBatches: [Varying]
    var mrpcLengths: [Lengths]
    var torchRandperm: [Permutation]
    var seedableSampler: [Sampled]
  }

  @Test func shards() throws {
    let cases = try golden("shards.json", as: [Shards].self)
    #expect(cases.count > 400)
    for golden in cases {
      let order = Array(0..<golden.datasetSize)
      let shards = try BatchSamplerShard(
        order: order, batchSize: golden.batchSize, ranks: golden.numProcesses, splitBatches: golden.splitBatches,
        evenBatches: golden.evenBatches, dropLast: golden.dropLast)
      let plan = try ShardPlan(
        datasetSize: golden.datasetSize, batchSize: golden.batchSize, ranks: golden.numProcesses,
        splitBatches: golden.splitBatches, uneven: golden.dropLast ? .drop : golden.evenBatches ? .pad : .ragged)
      for (rank, expected) in golden.shards.enumerated() {
        #expect(shards.batches(rank: rank) == expected, "\(golden)")
        let planned = (0..<plan.steps).map { plan.batch(step: $0, rank: rank, order: order) }.filter { !$0.isEmpty }
        #expect(planned == expected, "\(golden)")
      }
    }
  }

  @Test func batchSamplerShard() throws {
    for golden in try golden("accelerate_oracles.json", as: Oracles.self).batchSamplerShard {
      let shards = try BatchSamplerShard(
        order: Array(0..<golden.n), batchSize: golden.batchSize, ranks: golden.numProcesses,
        splitBatches: golden.splitBatches, evenBatches: golden.evenBatches, dropLast: golden.dropLast)
      #expect((0..<golden.numProcesses).map { shards.batches(rank: $0) } == golden.shards, "\(golden)")
      #expect((0..<golden.numProcesses).map { shards.reportedLength(rank: $0) } == golden.reportedLen, "\(golden)")
    }
  }

  @Test func varyingBatches() throws {
    for golden in try golden("accelerate_oracles.json", as: Oracles.self).varyingBatches {
      let shards = try BatchSamplerShard(
        varying: golden.batches, ranks: golden.numProcesses, evenBatches: golden.evenBatches,
        dropLast: golden.dropLast ?? false)
      #expect((0..<golden.numProcesses).map { shards.batches(rank: $0) } == golden.shards, "\(golden)")
    }
  }

  @Test func mrpcLengths() throws {
    for golden in try golden("accelerate_oracles.json", as: Oracles.self).mrpcLengths {
      func shards(even: Bool, drop: Bool) throws -> BatchSamplerShard {
        try BatchSamplerShard(
          order: Array(0..<golden.n), batchSize: golden.batchSize, ranks: golden.numProcesses, evenBatches: even,
          dropLast: drop)
      }
      let ranks = 0..<golden.numProcesses
      let even = try shards(even: true, drop: false)
      #expect(ranks.map { even.reportedLength(rank: $0) } == golden.lenPerRank, "\(golden)")
      #expect(ranks.flatMap { even.batches(rank: $0) }.reduce(0) { $0 + $1.count } == golden.samplesSeen, "\(golden)")
      let dropped = try shards(even: true, drop: true)
      #expect(ranks.map { dropped.reportedLength(rank: $0) } == golden.dropLastLen, "\(golden)")
      let uneven = try shards(even: false, drop: false)
      #expect(ranks.map { uneven.reportedLength(rank: $0) } == golden.unevenLen, "\(golden)")
      #expect(ranks.map { uneven.batches(rank: $0).count } == golden.unevenLen, "\(golden)")
    }
  }

  @Test func orders() throws {
    let oracles = try golden("accelerate_oracles.json", as: Oracles.self)
    for golden in oracles.torchRandperm {
      #expect(shuffledOrder(count: golden.n, seed: golden.seed, epoch: 0) == golden.perm)
    }
    for golden in oracles.seedableSampler {
      let order = shuffledOrder(count: golden.n, seed: golden.dataSeed, epoch: golden.epoch)
      #expect(Array(order.prefix(16)) == golden.first16 && Array(order.suffix(4)) == golden.last4)
    }
  }
}
