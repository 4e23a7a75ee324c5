import Datasets
import Testing

/// Everything that Accelerate was seen to do, against both ways of sharding.
@Suite(.enabled(if: reference != nil, "LOCKSTEP_REFERENCE is not set"))
struct ReferenceTests {
  struct Shards: Decodable {
    var dataset_size, batch_size, num_processes: Int
    var even_batches, split_batches, drop_last: Bool
    var shards: [[[Int]]]
  }

  struct Oracles: Decodable {
    struct Sampler: Decodable {
      var n, batch_size, num_processes: Int
      var drop_last, split_batches, even_batches: Bool
      var shards: [[[Int]]]
      var reported_len: [Int]
    }
    struct Varying: Decodable {
      var batches: [[Int]]
      var num_processes: Int
      var even_batches: Bool
      var drop_last: Bool?
      var shards: [[[Int]]]
    }
    struct Lengths: Decodable {
      var n, batch_size, num_processes, samples_seen: Int
      var len_per_rank, drop_last_len, uneven_len: [Int]
    }
    struct Permutation: Decodable { var seed, n: Int, perm: [Int] }
    struct Sampled: Decodable { var n, data_seed, epoch: Int, first16, last4: [Int] }
    var batch_sampler_shard: [Sampler]
    var varying_batches: [Varying]
    var mrpc_lengths: [Lengths]
    var torch_randperm: [Permutation]
    var seedable_sampler: [Sampled]
  }

  @Test func shards() throws {
    let cases = try golden("shards.json", as: [Shards].self)
    #expect(cases.count > 400)
    for golden in cases {
      let order = Array(0..<golden.dataset_size)
      let shards = try BatchSamplerShard(
        order: order, batchSize: golden.batch_size, ranks: golden.num_processes, splitBatches: golden.split_batches,
        evenBatches: golden.even_batches, dropLast: golden.drop_last)
      let plan = try ShardPlan(
        datasetSize: golden.dataset_size, batchSize: golden.batch_size, ranks: golden.num_processes,
        splitBatches: golden.split_batches, uneven: golden.drop_last ? .drop : golden.even_batches ? .pad : .ragged)
      for (rank, expected) in golden.shards.enumerated() {
        #expect(shards.batches(rank: rank) == expected, "\(golden)")
        let planned = (0..<plan.steps).map { plan.batch(step: $0, rank: rank, order: order) }.filter { !$0.isEmpty }
        #expect(planned == expected, "\(golden)")
      }
    }
  }

  @Test func batchSamplerShard() throws {
    for golden in try golden("accelerate_oracles.json", as: Oracles.self).batch_sampler_shard {
      let shards = try BatchSamplerShard(
        order: Array(0..<golden.n), batchSize: golden.batch_size, ranks: golden.num_processes,
        splitBatches: golden.split_batches, evenBatches: golden.even_batches, dropLast: golden.drop_last)
      #expect((0..<golden.num_processes).map { shards.batches(rank: $0) } == golden.shards, "\(golden)")
      #expect((0..<golden.num_processes).map { shards.reportedLength(rank: $0) } == golden.reported_len, "\(golden)")
    }
  }

  @Test func varyingBatches() throws {
    for golden in try golden("accelerate_oracles.json", as: Oracles.self).varying_batches {
      let shards = try BatchSamplerShard(
        varying: golden.batches, ranks: golden.num_processes, evenBatches: golden.even_batches,
        dropLast: golden.drop_last ?? false)
      #expect((0..<golden.num_processes).map { shards.batches(rank: $0) } == golden.shards, "\(golden)")
    }
  }

  @Test func mrpcLengths() throws {
    for golden in try golden("accelerate_oracles.json", as: Oracles.self).mrpc_lengths {
      func shards(even: Bool, drop: Bool) throws -> BatchSamplerShard {
        try BatchSamplerShard(
          order: Array(0..<golden.n), batchSize: golden.batch_size, ranks: golden.num_processes, evenBatches: even,
          dropLast: drop)
      }
      let ranks = 0..<golden.num_processes
      let even = try shards(even: true, drop: false)
      #expect(ranks.map { even.reportedLength(rank: $0) } == golden.len_per_rank, "\(golden)")
      #expect(ranks.flatMap { even.batches(rank: $0) }.reduce(0) { $0 + $1.count } == golden.samples_seen, "\(golden)")
      let dropped = try shards(even: true, drop: true)
      #expect(ranks.map { dropped.reportedLength(rank: $0) } == golden.drop_last_len, "\(golden)")
      let uneven = try shards(even: false, drop: false)
      #expect(ranks.map { uneven.reportedLength(rank: $0) } == golden.uneven_len, "\(golden)")
      #expect(ranks.map { uneven.batches(rank: $0).count } == golden.uneven_len, "\(golden)")
    }
  }

  @Test func orders() throws {
    let oracles = try golden("accelerate_oracles.json", as: Oracles.self)
    for golden in oracles.torch_randperm {
      #expect(shuffledOrder(count: golden.n, seed: golden.seed, epoch: 0) == golden.perm)
    }
    for golden in oracles.seedable_sampler {
      let order = shuffledOrder(count: golden.n, seed: golden.data_seed, epoch: golden.epoch)
      #expect(Array(order.prefix(16)) == golden.first16 && Array(order.suffix(4)) == golden.last4)
    }
  }
}
