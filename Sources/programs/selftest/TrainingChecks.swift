import BERT
import Collectives
import Corpus
import Datasets
import System
import Training

extension Check {
  /// Training on all ranks against training on one, each rank alone computing the latter.
  static let training = [
    Check(name: "training: N ranks equal 1 rank") { (communicator, settings) throws(Failure) in
      try compare(TrainingRun(), communicator, settings)
    },
    Check(name: "training: split batches") { (communicator, settings) throws(Failure) in
      try compare(TrainingRun(splitsBatches: true), communicator, settings)
    },
    Check(name: "training: dropout, the same on any number of ranks") { (communicator, settings) throws(Failure) in
      try compare(TrainingRun(dropout: 0.1), communicator, settings)
    },
    Check(name: "training: a last batch that is not full") { (communicator, settings) throws(Failure) in
      try compare(
        TrainingRun(rows: 8 * communicator.size * 2 + communicator.size + 1, isShuffled: true), communicator, settings)
    },
    Check(name: "training: clipped gradients") { (communicator, settings) throws(Failure) in
      try compare(TrainingRun(maxGradientNorm: 0.5), communicator, settings)
    },
    Check(name: "gradient accumulation: steps at the window's end and the epoch's") {
      (communicator, _) throws(Failure) in
      let data = try TrainingRun.dataset(rows: 5 * communicator.size)
      let plan = try ShardPlan(datasetSize: data.count, batchSize: 1, ranks: communicator.size)
      let loader = try MicroBatchLoader(data, plan: plan, rank: communicator.rank, accumulationSteps: 2)
      return difference("sync", loader.epoch(0).map(\.isLastInStep), [false, true, false, true, true])
    },
    Check(name: "gradient accumulation: windows of small batches equal large batches") {
      (communicator, settings) throws(Failure) in
      let large = try TrainingRun()(communicator, settings)
      let small = try TrainingRun(batchSize: 4, accumulationSteps: 2)(communicator, settings)
      return large.difference(from: small)
    },
    Check(name: "learning rate: the same steps whatever the ranks, down to 0") { (communicator, _) throws(Failure) in
      let schedule = LinearRate(peakRate: 2e-5, warmupSteps: 100, totalSteps: 690)
      let rates = [1, 2, 26, 101, 691].map { schedule.rate(step: $0) }
      let all = try communicator.allGather(rates)
      if Set(all).count != 1 { return "another rank has other rates" }
      return difference("rate", rates, [0, 2e-7, 5e-6, 2e-5, 0], tolerance: 1e-12)
    },
    Check(name: "metrics: every row counted once") { (communicator, settings) throws(Failure) in
      for rows in [82, 99, 512] {
        let found = try TrainingRun.evaluation(rows: rows, communicator, settings)
        let alone = try TrainingRun.evaluation(rows: rows, SoloCommunicator(), settings)
        let problem = communicator.first(
          difference("rows", found.examples, rows), difference("correct of \(rows)", found.correct, alone.correct),
          difference("accuracy", found.accuracy, alone.accuracy), difference("F1", found.f1, alone.f1),
          difference("loss", [found.loss], [alone.loss], tolerance: 1e-6))
        if let problem { return problem }
      }
      return nil
    },
  ]

  private static func compare(
    _ run: TrainingRun, _ communicator: any Communicator, _ settings: RankSettings
  ) throws(Failure) -> String? {
    let together = try run(communicator, settings)
    var alone = run
    alone.batchSize = run.splitsBatches ? run.globalBatchSize(communicator) : run.batchSize * communicator.size
    alone.rows = run.rowCount(communicator)
    return together.difference(from: try alone(SoloCommunicator(), settings))
  }
}

/// A short training of a small BERT on made-up sentences.
struct TrainingRun {
  /// Rows of a rank; with `splitsBatches` for all ranks when multiplied by their number.
  var batchSize = 8
  /// nil for three full rounds.
  var rows: Int?
  var splitsBatches = false
  var accumulationSteps = 1
  var dropout = 0.0
  var isShuffled = false
  var maxGradientNorm: Double?

  struct Result {
    var losses: [Double] = []
    var norms: [Double] = []
    /// The sum of squares of the weights, which stands for all of them.
    var weights = 0.0

    func difference(from other: Result) -> String? {
      // Sums in another order: fp32's last digits differ, and steps add that up.
      selftest.difference("loss of step", losses, other.losses, tolerance: 1e-5)
        ?? selftest.difference("gradient norm of step", norms, other.norms, tolerance: 1e-4)
        ?? selftest.difference("weights", [weights], [other.weights], tolerance: 1e-5)
    }
  }

  func globalBatchSize(_ communicator: any Communicator) -> Int { batchSize * communicator.size }

  func rowCount(_ communicator: any Communicator) -> Int { rows ?? 3 * 8 * communicator.size }

  /// Trains two epochs.
  func callAsFunction(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure) -> Result {
    let data = try Self.dataset(rows: rowCount(communicator))
    let plan = try ShardPlan(
      datasetSize: data.count, batchSize: splitsBatches ? globalBatchSize(communicator) : batchSize,
      ranks: communicator.size, splitBatches: splitsBatches)
    let loader = try MicroBatchLoader(
      data, plan: plan, rank: communicator.rank, order: isShuffled ? .shuffled(seed: 42) : .file,
      accumulationSteps: accumulationSteps)
    let model = try Self.model(communicator, settings, dropout: dropout)
    let engine = try TrainingEngine(
      communicator, model: model, optimizer: AdamWOptimizer.Options(weightDecay: 0.01), limits: loader.limits,
      // With two parts, a last digit that differs may round a factor's 16 bits the other way, and Adam makes much of that
      // where a gradient is small: 2e-5 of a loss after 6 steps at this rate, on 6 ranks.
      precision: .highest, settings: settings, seed: 7, maxGradientNorm: maxGradientNorm)
    var result = Result()
    for epoch in 0..<2 {
      for microBatch in loader.epoch(epoch) {
        try engine.backward(microBatch)
        guard microBatch.isLastInStep else { continue }
        let step = try engine.step(learningRate: 1e-3)
        result.losses.append(step.loss)
        result.norms.append(step.gradientNorm)
      }
    }
    result.weights = model.parameters.buffer.reduce(0) { $0 + Double($1) * Double($1) }
    return result
  }

  /// What an untrained model gets right.
  static func evaluation(
    rows: Int, _ communicator: any Communicator, _ settings: RankSettings
  ) throws(Failure) -> Evaluation {
    let data = try dataset(rows: rows)
    let engine = try TrainingEngine(
      communicator, model: try model(communicator, settings, dropout: 0),
      optimizer: AdamWOptimizer.Options(weightDecay: 0),
      limits: BatchLimits(tokens: 1, sequences: 1, length: 1), settings: settings, seed: 7)
    let counts = try engine.evaluate(data, batchSize: 8)
    try communicator.barrier()
    return counts
  }

  private static func model(
    _ communicator: any Communicator, _ settings: RankSettings, dropout: Double
  ) throws(Failure) -> Model {
    var configuration = try folder().configuration
    configuration.setDropout(dropout)
    let model = try Model(configuration, communicator, sharesMemory: settings.sharesMemory)
    if communicator.isMain { model.initialize(seed: 11) }
    try model.broadcast(communicator)
    return model
  }

  static func dataset(rows: Int) throws(Failure) -> TokenizedDataset {
    let corpus = ParaphraseCorpus(seed: 3, trainPairs: rows, validationPairs: 0)
    let pairs = try GLUETask.mrpc.parse(corpus.trainTable, path: "made-up/train.tsv")
    return try folder().tokenized(pairs, maxLength: 32)
  }

  private static func folder() throws(Failure) -> ModelFolder {
    let corpus = ParaphraseCorpus(seed: 3, trainPairs: 0, validationPairs: 0)
    return try ModelFolder(
      name: "small BERT", configuration: Array(ParaphraseCorpus.configJSON.utf8),
      tokenizer: Array(ParaphraseCorpus.tokenizerConfigJSON.utf8), vocabulary: corpus.vocabulary, labels: 2)
  }
}
