import ArgumentParser
import Datasets
import ProgramSupport
import System

/// How rows are dealt to ranks, as `finetune` takes it.
struct ShardOptions: ParsableArguments {
  @Option(
    name: bothSpellings("batch-size"), help: "Rows of a batch on each rank; with --split-batches on all together.")
  var batchSize = 8

  @Option(name: bothSpellings("num-processes"), help: "The number of ranks.")
  var numProcesses = 1

  @Flag(name: bothSpellings("split-batches"), help: "The batch size is that of all ranks together.")
  var splitBatches = false

  @Option(help: "What becomes of the rows that do not fill the last round: exact, pad or drop.")
  var uneven: TailPolicy?

  @Option(
    name: bothSpellings("even-batches"),
    help: ArgumentHelp("Deal as Accelerate does, with its even_batches true or false.", valueName: "true|false"))
  var evenBatches: Bool?

  @Flag(name: bothSpellings("drop-last"), help: "Leave out the rows that do not fill the last round.")
  var dropLast = false

  @Flag(help: "Shuffle the rows; without it they keep their order.")
  var shuffle = false

  @Option(help: "The seed of the order.")
  var seed = 42

  @Option(help: "The epoch of the order, from 0.")
  var epoch = 0

  func validate() throws {
    if uneven != nil && evenBatches != nil {
      throw ValidationError("--uneven and --even-batches contradict each other; give one.")
    }
    if let uneven, dropLast, uneven != .drop {
      throw ValidationError("--uneven \(uneven.rawValue) and --drop-last contradict each other; give one.")
    }
  }

  /// The policy that the options name.
  var remainder: TailPolicy {
    if dropLast { return .drop }
    if let evenBatches { return evenBatches ? .pad : .ragged }
    return uneven ?? .exact
  }

  /// No command prints more row numbers.
  static let mostRows = 10_000_000

  /// The plan for `datasetSize` rows, of which the first `steps` are to be printed, or all.
  func plan(datasetSize: Int, steps: Int = .max) throws -> ShardPlan {
    try check(batchSize, "--batch-size", Limits.batchSize)
    try check(numProcesses, "--num-processes", Limits.ranks)
    let plan = try ShardPlan(
      datasetSize: datasetSize, batchSize: batchSize, ranks: numProcesses, splitBatches: splitBatches,
      uneven: remainder)
    let rows = min(steps, plan.steps) * plan.globalBatchSize
    guard remainder != .pad || rows <= Self.mostRows else {
      throw Failure(
        .usage,
        "batches of \(batchSize) on \(numProcesses) processes are filled up to \(rows) rows, "
          + "expected at most \(Self.mostRows)")
    }
    return plan
  }

  /// The order of `count` rows in the epoch.
  func order(count: Int) -> [Int] {
    shuffle ? shuffledOrder(count: count, seed: seed, epoch: epoch) : Array(0..<count)
  }
}
