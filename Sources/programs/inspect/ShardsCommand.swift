import ArgumentParser
import Datasets
import ProgramSupport
import System
import Training

/// `inspect shards`: which rows each rank would take.
struct ShardsCommand: Inspection {
  static let configuration = CommandConfiguration(
    commandName: "shards",
    abstract: "Prints each rank's batches of row numbers.",
    discussion: """
      With --even-batches the rows are dealt by Accelerate's BatchSamplerShard, to the letter, and reported_lengths is \
      what its len() gives. Without it no row is dealt twice and none is left out, unless --uneven says otherwise.
      """)

  @Option(name: bothSpellings("dataset-size"), help: "The number of rows.")
  var datasetSize: Int

  @OptionGroup var sharding: ShardOptions

  func run(_ settings: RankSettings) throws {
    guard (0...ShardOptions.mostRows).contains(datasetSize) else {
      throw Failure(.usage, "the dataset size is \(datasetSize), expected 0 to \(ShardOptions.mostRows)")
    }
    // Also checks the numbers, for either kind of sharding.
    let plan = try sharding.plan(datasetSize: datasetSize)
    let order = sharding.order(count: datasetSize)
    let accelerate = try sharding.evenBatches.map { evenBatches in
      try BatchSamplerShard(
        order: order, batchSize: sharding.batchSize, ranks: sharding.numProcesses,
        splitBatches: sharding.splitBatches, evenBatches: evenBatches, dropLast: sharding.dropLast)
    }
    var output = JSONOutput()
    var lengths: [Int] = []
    output.raw("{\"shards\":")
    output.list(0..<sharding.numProcesses) { output, rank in
      let batches =
        accelerate?.batches(rank: rank)
        ?? (0..<plan.steps).map { plan.batch(step: $0, rank: rank, order: order) }
      lengths.append(batches.count)
      output.list(batches) { $0.numbers($1) }
    }
    output.raw(",\"mode\":")
    output.string(accelerate == nil ? plan.remainder.rawValue : "accelerate")
    output.raw(",\"lengths\":")
    output.numbers(lengths)
    if let accelerate {
      output.raw(",\"reported_lengths\":")
      output.numbers((0..<sharding.numProcesses).map { accelerate.reportedLength(rank: $0) })
    } else {
      output.raw(",\"rows_per_step\":")
      output.numbers((0..<plan.steps).map { plan.rowCount(step: $0) })
    }
    output.raw("}\n")
    try output.flush()
  }
}
