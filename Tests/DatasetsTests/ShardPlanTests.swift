import Datasets
import System
import TestSupport
import Testing

@Suite struct ShardPlanTests {
  /// Every small plan: rows, batch, ranks, split.
  static let sizes: [(rows: Int, batch: Int, ranks: Int, split: Bool)] = (0...26).flatMap { rows in
    [(1, 1), (3, 1), (1, 2), (3, 2), (4, 2), (4, 3), (2, 4), (6, 3), (8, 4), (5, 5)].flatMap { batch, ranks in
      (batch % ranks == 0 ? [false, true] : [false]).map { (rows, batch, ranks, $0) }
    }
  }

  private func batches(_ plan: ShardPlan, _ rank: Int, _ order: [Int]) -> [[Int]] {
    (0..<plan.steps).map { plan.batch(step: $0, rank: rank, order: order) }
  }

  @Test func exactPlansDealEveryRowOnce() throws {
    for size in Self.sizes where size.ranks <= size.rows {
      let plan = try ShardPlan(
        datasetSize: size.rows, batchSize: size.batch, ranks: size.ranks, splitBatches: size.split)
      let order = shuffledOrder(count: size.rows, seed: 3, epoch: 1)
      var seen: [Int] = []
      for step in 0..<plan.steps {
        let round = (0..<size.ranks).map { plan.batch(step: step, rank: $0, order: order) }
        let counts = round.map(\.count)
        let (most, fewest) = (try #require(counts.max()), try #require(counts.min()))
        #expect(most - fewest <= 1, "\(size) \(step)")
        #expect(counts == counts.sorted(by: >), "\(size) \(step)")
        #expect(counts == (0..<size.ranks).map { plan.rowCount(step: step, rank: $0) })
        #expect(counts.reduce(0, +) == plan.rowCount(step: step))
        #expect(most <= plan.rankBatchSize)
        seen += round.flatMap { $0 }
      }
      #expect(seen == order, "\(size)")
    }
  }

  @Test func otherPlansAreAccelerates() throws {
    for size in Self.sizes {
      let order = shuffledOrder(count: size.rows, seed: 5, epoch: 0)
      for (remainder, even, drop) in [(.pad, true, false), (.ragged, false, false), (.drop, true, true)]
        as [(TailPolicy, Bool, Bool)]
      {
        let plan = try ShardPlan(
          datasetSize: size.rows, batchSize: size.batch, ranks: size.ranks, splitBatches: size.split, uneven: remainder)
        let shards = try BatchSamplerShard(
          order: order, batchSize: size.batch, ranks: size.ranks, splitBatches: size.split, evenBatches: even,
          dropLast: drop)
        for rank in 0..<size.ranks {
          #expect(
            batches(plan, rank, order).filter { !$0.isEmpty } == shards.batches(rank: rank), "\(size) \(remainder)")
        }
        for step in 0..<plan.steps {
          let counts = (0..<size.ranks).map { plan.rowCount(step: step, rank: $0) }
          #expect(counts.reduce(0, +) == plan.rowCount(step: step), "\(size) \(remainder)")
        }
      }
    }
  }

  @Test func mrpcsSteps() throws {
    for (ranks, exact, drop) in [(1, 459, 458), (2, 230, 229), (3, 153, 152), (4, 115, 114)] {
      #expect(try ShardPlan(datasetSize: 3668, batchSize: 8, ranks: ranks).steps == exact)
      #expect(try ShardPlan(datasetSize: 3668, batchSize: 8, ranks: ranks, uneven: .pad).steps == exact)
      #expect(try ShardPlan(datasetSize: 3668, batchSize: 8, ranks: ranks, uneven: .drop).steps == drop)
    }
    let plan = try ShardPlan(datasetSize: 3668, batchSize: 8, ranks: 4)
    #expect((0..<4).map { plan.rowCount(step: 114, rank: $0) } == [5, 5, 5, 5])
    #expect(plan.rowCount(step: 114) == 20 && plan.rowCount(step: 113) == 32)
  }

  @Test("a round that ranks cannot share evenly is dealt as evenly as can be, in the order that one rank has")
  func unevenSplit() throws {
    for (rows, batch) in [(62, 8), (61, 12), (7, 8), (100, 32)] {
      let order = shuffledOrder(count: rows, seed: 3, epoch: 1)
      for ranks in 1...5 {
        let plan = try ShardPlan(
          datasetSize: rows, batchSize: batch, ranks: ranks, splitBatches: true, splitsUnevenly: true)
        let dealt = (0..<plan.steps).map { step in (0..<ranks).map { plan.batch(step: step, rank: $0, order: order) } }
        #expect(dealt.flatMap { $0.flatMap { $0 } } == order)
        let alone = try ShardPlan(datasetSize: rows, batchSize: batch, ranks: 1)
        #expect(dealt.map { $0.reduce(0) { $0 + $1.count } } == (0..<alone.steps).map { alone.rowCount(step: $0) })
        for round in dealt {
          let counts = round.map(\.count)
          #expect(
            (counts.max() ?? 0) - (counts.min() ?? 0) <= 1 && counts.max() ?? 0 <= plan.mostRowsOfRank, "\(counts)")
        }
      }
    }
  }

  @Test func theLastRoundMayLeaveARankWithoutRows() throws {
    let plan = try ShardPlan(datasetSize: 13, batchSize: 4, ranks: 3)
    #expect(batches(plan, 0, Array(0..<13)) == [[0, 1, 2, 3], [12]])
    #expect(batches(plan, 2, Array(0..<13)) == [[8, 9, 10, 11], []])
  }

  @Test func refills() throws {
    let plan = try ShardPlan(datasetSize: 10, batchSize: 4, ranks: 2)
    var rows = [99, 98, 97, 96, 95]
    plan.fillBatch(&rows, step: 1, rank: 1, order: Array(0..<10))
    #expect(rows == [9])
  }

  @Test(arguments: [
    (10, 0, 2, false, TailPolicy.exact, "batch size is 0"), (10, -1, 2, false, .pad, "batch size is -1"),
    (10, 2, 0, false, .exact, "processes is 0"), (-1, 2, 2, false, .pad, "-1"),
    (10, 5, 2, true, .pad, "cannot be split"),
    (2, 4, 3, false, .exact, "3 processes for 2 rows"), (10, .max, 2, false, .pad, "expected at most 1048576"),
    (10, (1 << 21) + 2, 2, true, .ragged, "expected at most 2097152"),
    (10, 8, .max, false, .drop, "expected at most 65536"),
  ])
  func refusals(rows: Int, batch: Int, ranks: Int, split: Bool, remainder: TailPolicy, message: String) {
    let failure = failure { () throws(Failure) in
      try ShardPlan(datasetSize: rows, batchSize: batch, ranks: ranks, splitBatches: split, uneven: remainder)
    }
    #expect(failure?.status == .usage)
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }
}
