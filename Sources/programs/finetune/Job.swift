import BERT
import Collectives
import Datasets
import Kernels
import Reporting
import System
import Training

/// Everything that a run is decided by, read and checked: the same on every rank.
struct Job {
  var folder: ModelFolder
  var configuration: BertConfiguration
  var train: TokenizedDataset
  var validations: [Validation]
  /// Rows that are evaluated at the end, or whose predictions are written; may lack labels.
  var test: TokenizedDataset?
  var metric: TaskMetric
  var loader: MicroBatchLoader
  var schedule: RateSchedule
  var optimizer: AdamWOptimizer.Options
  var epochs: Int
  var evalBatchSize: Int
  var seed: Int
  var labels: TaskLabels
  /// The classes, in order; empty for scores.
  var labelNames: [String]
  var recipe: Recipe
  var initialization: Initialization
  var precision: ProductPrecision
  var settings: RankSettings
  /// Names and values to print at the start.
  var facts: [(name: String, value: String)]
  /// What the rows are called.
  var dataName: String
  /// What needs no learning, to measure the model against.
  var baselines: [(name: String, values: [MetricValue])]
  var notes: [String]

  /// Rows to evaluate on after each epoch.
  struct Validation {
    /// Behind the metrics' names.
    var suffix: String
    var name: String
    var rows: TokenizedDataset
    /// The same rows as they were read, for the report.
    var texts: SentencePairs
  }

  /// - Parameter files: what rank 0 has read of ``FinetuneCommand/inputPaths()``.
  init(
    _ command: FinetuneCommand, _ files: InputFiles, _ communicator: any Communicator, _ settings: RankSettings
  ) throws(Failure) {
    self.settings = settings
    let firstRanks = settings.restartRanks ?? communicator.size
    let source = try Self.source(command, files, ranks: firstRanks)
    recipe = source.recipe
    precision = try command.precision.precision(settings)
    initialization = command.model == nil ? .random : command.initialization
    folder = source.folder
    labels = source.labels
    labelNames = source.labelNames
    metric = try TaskMetric(command.evalMetrics.isEmpty ? source.metrics : command.evalMetrics, for: labels)
    configuration = folder.configuration
    if let dropout = command.dropout ?? recipe.dropout { configuration.setDropout(dropout) }
    seed = command.seed ?? recipe.seed
    evalBatchSize = command.evalBatchSize ?? recipe.evalBatchSize

    let maxLength = try Self.maxLength(command.maxLength, folder)
    let folder = folder
    train = try folder.tokenized(source.train, maxLength: maxLength, name: "the training rows")
    validations = try source.validations.map { (rows) throws(Failure) in
      try Validation(
        suffix: rows.suffix, name: rows.name,
        rows: folder.tokenized(rows.rows, maxLength: maxLength, name: rows.name), texts: rows.rows)
    }
    test = try source.test.map { (rows) throws(Failure) in
      try folder.tokenized(rows, maxLength: maxLength, withLabels: false, name: "the test rows")
    }
    try Self.checkTest(test, command)
    let plan = try Self.plan(
      command, recipe, rows: train.count, ranks: communicator.size, firstRanks: firstRanks)
    guard plan.steps > 0 else {
      throw Failure(
        .usage, at: "--uneven",
        "drop leaves nothing: \(train.count) rows do not fill one batch of \(plan.globalBatchSize)")
    }
    loader = try Self.loader(command, train, plan, communicator, seed: seed)
    let byEpochs = (command.epochs ?? recipe.epochs) * loader.stepsPerEpoch
    let totalSteps = command.maxSteps ?? byEpochs
    epochs = (totalSteps + loader.stepsPerEpoch - 1) / loader.stepsPerEpoch
    schedule = try Self.schedule(command, recipe, totalSteps: totalSteps)
    optimizer = AdamWOptimizer.Options(
      weightDecay: command.weightDecay ?? recipe.weightDecay, sparesBiasAndNorm: command.noDecayBiasNorm,
      nonFinite: command.nonFinite)
    baselines = try Self.baselines(validations, labels, metric) + source.baselines
    notes = source.notes
    dataName = source.dataName
    facts = []
    facts = describe(source, communicator)
  }

  /// - Parameter firstRanks: that the job began with: after a restart on others, its rounds have as many rows as before.
  private static func plan(
    _ command: FinetuneCommand, _ recipe: Recipe, rows: Int, ranks: Int, firstRanks: Int
  ) throws(Failure) -> ShardPlan {
    let batchSize = command.batchSize ?? recipe.batchSize
    guard command.reduction == .invariant || firstRanks != ranks else {
      return try ShardPlan(
        datasetSize: rows, batchSize: batchSize, ranks: ranks, splitBatches: command.splitBatches,
        uneven: command.uneven)
    }
    let ofAll = command.splitBatches ? batchSize : batchSize * firstRanks
    guard command.reduction == .invariant else {
      return try ShardPlan(
        datasetSize: rows, batchSize: ofAll, ranks: ranks, splitBatches: true, uneven: command.uneven,
        splitsUnevenly: command.uneven == .exact)
    }
    // Of all ranks together: no rank has rows of its own before groups are dealt out.
    return try ShardPlan(datasetSize: rows, batchSize: ofAll, ranks: 1, uneven: command.uneven)
  }

  private static func loader(
    _ command: FinetuneCommand, _ rows: TokenizedDataset, _ plan: ShardPlan, _ communicator: any Communicator,
    seed: Int
  ) throws(Failure) -> MicroBatchLoader {
    let order = command.noShuffle ? MicroBatchLoader.Order.file : .shuffled(seed: seed)
    let accumulationSteps = command.gradientAccumulationSteps ?? 1
    guard command.reduction == .invariant else {
      return try MicroBatchLoader(
        rows, plan: plan, rank: communicator.rank, order: order, accumulationSteps: accumulationSteps)
    }
    return try MicroBatchLoader(
      inGroups: rows, plan: plan, rank: communicator.rank, ranks: communicator.size, order: order,
      accumulationSteps: accumulationSteps)
  }

  private static func source(
    _ command: FinetuneCommand, _ files: InputFiles, ranks: Int
  ) throws(Failure) -> Source {
    guard let path = command.model else { return try Source.embedded(ranks: ranks) }
    if let tables = command.tables.tables { return try Source(folder: path, tables: tables, files: files) }
    return try Source(
      folder: path, data: command.data ?? "", task: command.task.map(GLUETask.named) ?? .mrpc, files: files)
  }

  /// Rows of a test split all have labels, to be evaluated, or none.
  private static func checkTest(_ rows: TokenizedDataset?, _ command: FinetuneCommand) throws(Failure) {
    guard let rows, let bare = rows.labels.firstIndex(of: .unknown) else { return }
    if let labelled = rows.labels.firstIndex(where: { $0 != .unknown }) {
      throw Failure(
        .badData, at: command.tables.testFile,
        "row \(bare + 1) has no label and row \(labelled + 1) has one, expected labels in all test rows or in none")
    }
    guard command.tables.predictions != nil else {
      throw Failure(.usage, at: "--test-file", "has no labels to compare with, expected --predictions FILE, too")
    }
  }

  private static func schedule(
    _ command: FinetuneCommand, _ recipe: Recipe, totalSteps: Int
  ) throws(Failure) -> RateSchedule {
    let rate = command.learningRate ?? recipe.learningRate
    let standard = command.schedule == .constant ? 0 : min(recipe.warmupSteps, totalSteps)
    do throws(Failure) {
      return try RateSchedule(
        command.schedule, peakRate: rate, warmupSteps: command.warmupSteps ?? standard, totalSteps: totalSteps)
    } catch {
      let isRate = command.schedule == .polynomial && error.message.contains("learning rate")
      throw Failure(error.status, at: isRate ? "--learning-rate" : "--warmup-steps", error.message, hint: error.hint)
    }
  }

  private static func baselines(
    _ validations: [Validation], _ labels: TaskLabels, _ metric: TaskMetric
  ) throws(Failure) -> [(name: String, values: [MetricValue])] {
    var baseline: (name: String, values: [MetricValue]) = ("", [])
    for rows in validations {
      let guess = constantGuess(rows.rows, labels)
      var metric = metric
      try metric.add(guess.rows)
      baseline.name = guess.name
      baseline.values += metric.compute().map { MetricValue($0.name + rows.suffix, $0.value) }
    }
    return [baseline]
  }

  /// Numbers that must be the same on every rank, with what they stand for.
  var fingerprints: [(name: String, value: UInt64)] {
    [("config.json", folder.configurationFingerprint), ("training rows", train.fingerprint)]
      + validations.map { (String($0.name.dropFirst("the ".count)), $0.rows.fingerprint) }
      + [("vocabulary", folder.tokenizer.fingerprint)] + (test.map { [("test rows", $0.fingerprint)] } ?? [])
  }

  private static func maxLength(_ asked: Int?, _ folder: ModelFolder) throws(Failure) -> Int {
    let most = folder.configuration.maximumPositions
    if let asked, asked > most {
      throw Failure(
        .usage, at: "--max-length", "\(asked), expected at most the model's \(most) (\"max_position_embeddings\")")
    }
    return min(asked ?? 512, most, folder.tokenizer.maxLength ?? most)
  }

  private func describe(_ source: Source, _ communicator: any Communicator) -> [(name: String, value: String)] {
    let plan = loader.plan
    let parameters = ParameterLayout(configuration).count
    var batches = "\(grouped(plan.steps)) an epoch, \(plan.globalBatchSize) rows each"
    if let grouping = loader.grouping {
      batches += " in \(grouping.groupCount(rows: plan.globalBatchSize)) groups, added in one order"
    } else if communicator.size > 1 {
      batches += " (\(plan.rankBatchSize) a rank)"
    }
    if loader.accumulationSteps > 1 { batches += ", \(loader.accumulationSteps) to an optimizer step" }
    return [
      (
        "model",
        "\(CacheOrigin.shown(folder.path)): \(configuration.layers) layers of \(configuration.hiddenSize), \(grouped(parameters)) parameters"
      ),
      (
        "data",
        "\(source.dataName): \(grouped(train.count)) training rows, "
          + validations.map { "\(grouped($0.rows.count)) \($0.name.dropFirst("the ".count))" }.joined(separator: ", ")
          + (test.map { ", \(grouped($0.count)) test rows" } ?? "")
      ),
      labelFacts(train, labels, names: labelNames),
      ("batches", batches),
      (
        "steps",
        "\(grouped(schedule.totalSteps)) in \(epochs) epoch\(epochs == 1 ? "" : "s"), learning rate \(schedule.peakRate) after \(schedule.warmupSteps) warm-up steps, then \(schedule.kind.description)"
      ),
      ("precision", settings.gemm(precision, threads: ThreadPool(count: 1)).name),
      (
        "ranks",
        "\(communicator.size), \(communicator.localSize) on this host (\(communicator.host)), \(counted(settings.threads, "thread")) each"
      ),
      ("BLAS", Hardware.blas),
      ("seed", "\(seed)"),
    ]
  }
}
