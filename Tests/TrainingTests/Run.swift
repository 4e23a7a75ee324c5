import BERT
import Collectives
import Datasets
import Kernels
import Reporting
import System
import TestSupport
import Training

/// A training run as a function of the ranks.
struct Run: Sendable {
  var folder = "\(Golden.folder)/tiny-bert"
  var data = "\(Golden.folder)/mrpc"
  /// Rows of a step over all ranks.
  var globalBatchSize = 12
  var steps = 12
  var peakRate = 1e-3
  var warmupSteps = 0
  var accumulationSteps = 1
  var maxGradientNorm: Double?
  var optimizer = AdamWOptimizer.Options(weightDecay: 0.01)
  var dropout = 0.0
  var order = MicroBatchLoader.Order.file
  var precision = ProductPrecision.high
  /// One copy of the weights for all ranks, each updating its slice; else a copy each.
  var sharesMemory = true
  /// How many ranks each of several hosts has; nil puts all on one.
  var hosts: [Int]?
  var wire = WirePrecision.no
  var reduction = ReductionMode.fast
  /// Of each rank.
  var threads = 1
  /// Rows that are evaluated, and whose logits are kept, at the end; nil takes all.
  var evaluatedRows: Int?
  var evaluationBatchSize = 7

  struct Result: Sendable {
    var steps: [StepReport] = []
    var counts = Evaluation(lossSum: 0, rows: EvaluatedRows(outputs: 1, logits: [], labels: []))
    var logits: [Float] = []
    var weights: UInt64 = 0
  }

  init() {}

  init(_ golden: CurveGolden) {
    globalBatchSize = golden.batch_size
    steps = golden.totalSteps
    peakRate = golden.peakRate
    warmupSteps = golden.warmupSteps
    accumulationSteps = golden.gradient_accumulation_steps
    maxGradientNorm = golden.maxGradientNorm
    optimizer = AdamWOptimizer.Options(weightDecay: golden.weightDecay, sparesBiasAndNorm: golden.sparesBiasAndNorm)
  }

  /// Runs on one rank alone, or on several as threads; every rank's result.
  func callAsFunction(ranks: Int) throws -> [Result] {
    BLAS.setThreads(1)
    if ranks == 1 { return [try result(SoloCommunicator())] }
    return try ThreadCommunicator.run(ranks: ranks, hosts: hosts) { (communicator) throws(Failure) in
      try result(communicator)
    }
  }

  private func result(_ communicator: any Communicator) throws(Failure) -> Result {
    let folder = try ModelFolder(folder, labels: 2)
    var configuration = folder.configuration
    configuration.setDropout(dropout)
    let model = sharesMemory ? try Model(configuration, communicator) : Model(configuration)
    // Other ranks have nothing until rank 0 gives them its weights.
    if communicator.isMain { _ = try model.loadWeights(folder: folder.path, seed: 1) }
    try model.broadcast(communicator)
    func dataset(_ split: Split, first count: Int? = nil) throws(Failure) -> TokenizedDataset {
      let pairs = try loadSplit(.mrpc, folder: data, split: split)
      return try TokenizedDataset(
        Array(pairs.prefix(count ?? pairs.count)), tokenizer: folder.tokenizer,
        maxLength: configuration.maximumPositions)
    }
    let train = try dataset(.train)
    let loader = try loader(train, communicator)
    let schedule = LinearRate(peakRate: peakRate, warmupSteps: warmupSteps, totalSteps: steps)
    let engine = try TrainingEngine(
      communicator, model: model, optimizer: optimizer, limits: loader.limits, precision: precision,
      threads: ThreadPool(count: threads), seed: 42, maxGradientNorm: maxGradientNorm, wire: wire,
      grouping: loader.grouping)
    var result = Result()
    var epoch = 0
    while result.steps.count < steps {
      for microBatch in loader.epoch(epoch) {
        try engine.backward(microBatch)
        guard microBatch.isLastInStep else { continue }
        result.steps.append(try engine.step(learningRate: schedule.rate(step: engine.optimizer.step + 1)))
        if result.steps.count == steps { break }
      }
      epoch += 1
    }
    let validation = try dataset(.validation, first: evaluatedRows)
    result.counts = try engine.evaluate(validation, batchSize: evaluationBatchSize)
    result.logits = try model.forwardBackward(asOneBatch: validation, keepsGradients: false).logits
    result.weights = model.parameters.digest
    return result
  }
}

extension Run {
  private func loader(
    _ train: TokenizedDataset, _ communicator: any Communicator
  ) throws(Failure) -> MicroBatchLoader {
    if reduction == .invariant {
      return try MicroBatchLoader(
        inGroups: train, plan: ShardPlan(datasetSize: train.count, batchSize: globalBatchSize, ranks: 1),
        rank: communicator.rank, ranks: communicator.size, order: order, accumulationSteps: accumulationSteps)
    }
    let plan = try ShardPlan(
      datasetSize: train.count, batchSize: globalBatchSize, ranks: communicator.size, splitBatches: true)
    return try MicroBatchLoader(
      train, plan: plan, rank: communicator.rank, order: order, accumulationSteps: accumulationSteps)
  }
}

/// What is wrong with a run, against another's losses, rates and norms.
func differences(
  _ steps: [StepReport], _ expected: [(loss: Double, rate: Double, norm: Double)], norms: Double = 1e-4
) -> [String] {
  guard steps.count == expected.count else { return ["\(steps.count) steps, expected \(expected.count)"] }
  return zip(steps, expected).flatMap { step, expected in
    [
      ("loss", step.loss, expected.loss, 1e-5), ("rate", step.learningRate, expected.rate, 1e-5),
      ("norm", step.gradientNorm, expected.norm, norms),
    ].compactMap { name, value, expected, tolerance in
      relativeError(value, expected) <= tolerance ? nil : "step \(step.step): \(name) \(value), expected \(expected)"
    }
  }
}

extension CurveGolden {
  var expected: [(loss: Double, rate: Double, norm: Double)] { history.map { ($0.loss, $0.rate, $0.grad_norm) } }
}
