import Collectives
import Datasets
import System

extension Check {
  /// Which rows are whose.
  static let data = [
    Check(name: "split between processes: parts that differ by one at most") { (communicator, _) throws(Failure) in
      for count in [communicator.size, 17, 4 * communicator.size + 3] where count >= communicator.size {
        let plan = try ShardPlan(datasetSize: count, batchSize: count, ranks: communicator.size)
        let counts = try communicator.allGather(plan.rowCount(step: 0, rank: communicator.rank))
        let size = communicator.size
        let wanted = (0..<size).map { count / size + ($0 < count % size ? 1 : 0) }
        if let problem = difference("\(count) rows", counts, wanted) { return problem }
      }
      return nil
    },
    Check(name: "RNG: the same order on every rank, torch's, another for each epoch and seed") {
      (communicator, _) throws(Failure) in
      let first = shuffledOrder(count: 100, seed: 42, epoch: 0)
      let orders = [
        first, shuffledOrder(count: 100, seed: 42, epoch: 1), shuffledOrder(count: 100, seed: 43, epoch: 1),
      ]
      for order in orders {
        let all = try communicator.allGather(order.map(Double.init))
        if Set(all).count != 1 { return "another rank has another order" }
        if order.sorted() != Array(0..<100) { return "an order misses rows" }
      }
      return communicator.first(
        difference("different orders", Set(orders).count, 3),
        difference("again", shuffledOrder(count: 100, seed: 42, epoch: 0), first),
        difference("seed 42", shuffledOrder(count: 10, seed: 42, epoch: 0), [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]))
    },
    Check(name: "data loader: every row exactly once") { (communicator, _) throws(Failure) in
      for (count, batchSize) in sizes(communicator.size) where count >= communicator.size {
        let rows = try gatheredRows(communicator, count, batchSize, .exact, splitBatches: false).flatMap { $0 }
        if let problem = difference("\(count) rows by \(batchSize)", rows.sorted(), Array(0..<count)) { return problem }
      }
      return nil
    },
    Check(name: "data loader: split batches") { (communicator, _) throws(Failure) in
      let batchSize = 4 * communicator.size
      for count in [batchSize, 3 * batchSize + 1, 5 * batchSize - 1] {
        let rounds = try gatheredRows(communicator, count, batchSize, .exact, splitBatches: true)
        // A round over all ranks is one process's batch.
        let wanted = stride(from: 0, to: count, by: batchSize).map { Array($0..<min($0 + batchSize, count)) }
        if let problem = difference("\(count) rows", rounds.map { $0.sorted() }, wanted) { return problem }
      }
      return nil
    },
    Check(name: "data loader: even batches, dropped and ragged ends, as Accelerate deals them") {
      (communicator, _) throws(Failure) in
      let size = communicator.size
      for (count, batchSize) in sizes(size) {
        for (remainder, even, drop) in [(TailPolicy.pad, true, false), (.drop, true, true), (.ragged, false, false)] {
          for splits in [false, true] {
            let batch = splits ? batchSize * size : batchSize
            let plan = try ShardPlan(
              datasetSize: count, batchSize: batch, ranks: size, splitBatches: splits, uneven: remainder)
            let shard = try BatchSamplerShard(
              order: Array(0..<count), batchSize: batch, ranks: size, splitBatches: splits, evenBatches: even,
              dropLast: drop)
            let found = (0..<plan.steps).map {
              plan.batch(step: $0, rank: communicator.rank, order: Array(0..<count))
            }.filter { !$0.isEmpty }
            let what = "\(count) rows by \(batch), \(remainder)\(splits ? ", split" : "")"
            if let problem = difference(what, found, shard.batches(rank: communicator.rank)) { return problem }
          }
        }
      }
      return nil
    },
    Check(name: "data loader: shuffled, the same rows as unshuffled") { (communicator, _) throws(Failure) in
      let count = 32 * communicator.size
      let plan = try ShardPlan(datasetSize: count, batchSize: 8, ranks: communicator.size)
      var epochs: [[Int]] = []
      for epoch in 0..<3 {
        let order = shuffledOrder(count: count, seed: 42, epoch: epoch)
        var own: [Double] = []
        for step in 0..<plan.steps {
          own += plan.batch(step: step, rank: communicator.rank, order: order).map(Double.init)
        }
        epochs.append(try communicator.allGather(own).flatMap { $0.map { Int($0) } })
        if epochs[epoch].sorted() != Array(0..<count) { return "epoch \(epoch) is not a permutation of the rows" }
      }
      return difference("different epochs", Set(epochs).count, 3)
    },
    Check(name: "custom batch sampler: batches of any size, in turn") { (communicator, _) throws(Failure) in
      let batches = [[0, 1, 2], [3, 4], [5, 6, 7, 8], [9, 10, 11], [12, 13]]
      let shard = try BatchSamplerShard(varying: batches, ranks: communicator.size, evenBatches: false)
      let wanted = batches.indices.filter { $0 % communicator.size == communicator.rank }.map { batches[$0] }
      return difference("batches", shard.batches(rank: communicator.rank), wanted)
    },
  ]

  private static func sizes(_ ranks: Int) -> [(Int, Int)] {
    [(24 * ranks, 3), (21, 3), (22, 3), (20, 3), (2, 3), (7, 2), (17 * ranks + 1, 5), (0, 4)]
  }

  /// The rows of each round, over all ranks in their order.
  private static func gatheredRows(
    _ communicator: any Communicator, _ count: Int, _ batchSize: Int, _ remainder: TailPolicy, splitBatches: Bool
  ) throws(Failure) -> [[Int]] {
    let plan = try ShardPlan(
      datasetSize: count, batchSize: batchSize, ranks: communicator.size, splitBatches: splitBatches, uneven: remainder)
    var rounds: [[Int]] = []
    for step in 0..<plan.steps {
      let own = plan.batch(step: step, rank: communicator.rank, order: Array(0..<count))
      let bytes = own.flatMap { row in (0..<8).map { UInt8(truncatingIfNeeded: row >> (8 * $0)) } }
      rounds.append(
        try communicator.allGather(bytes).flatMap { bytes in
          stride(from: 0, to: bytes.count, by: 8).map { start in
            (0..<8).reduce(0) { $0 | Int(bytes[start + $1]) << (8 * $1) }
          }
        })
    }
    return rounds
  }
}
