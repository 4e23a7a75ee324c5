import BERT
import Collectives
import Datasets
import FileSystem
import Kernels
import Training

/// Everything that a run is decided by, read and checked: the same on every rank.
struct Job {
  var folder: ModelFolder
  var configuration: BertConfiguration
  var train: TokenizedDataset
  var validation: TokenizedDataset
  var loader: DataLoader
  var schedule: LinearSchedule
  var optimizer: AdamW.Options
  var epochs: Int
  var evalBatchSize: Int
  var seed: Int
  var labelNames: [String]
  var recipe: Recipe
  var initialization: Initialization
  var precision: ProductPrecision
  /// Names and values to print at the start.
  var facts: [(name: String, value: String)]
  /// What needs no learning, to measure accuracy against.
  var baselines: [(name: String, accuracy: Double, f1: Double)]

  init(_ command: FinetuneCommand, _ communicator: any Communicator) throws(Failure) {
    try command.check()
    let source =
      if let path = command.model, let data = command.data {
        try Source(folder: path, data: data, task: .named(command.task))
      } else {
        try Source.embedded(ranks: communicator.size)
      }
    recipe = source.recipe
    precision = try command.precision.precision()
    initialization = command.model == nil ? .random : command.initialization
    folder = source.folder
    labelNames = source.labelNames
    configuration = folder.configuration
    if let dropout = command.dropout ?? recipe.dropout { configuration.setDropout(dropout) }
    seed = command.seed ?? recipe.seed
    evalBatchSize = command.evalBatchSize ?? recipe.evalBatchSize

    let maxLength = try Self.maxLength(command.maxLength, folder)
    train = try folder.tokenized(source.train, maxLength: maxLength, name: "the training rows")
    validation = try folder.tokenized(source.validation, maxLength: maxLength, name: "the validation rows")
    let plan = try ShardPlan(
      datasetSize: train.count, batchSize: command.batchSize ?? recipe.batchSize, ranks: communicator.size,
      splitBatches: command.splitBatches, uneven: command.uneven)
    guard plan.steps > 0 else {
      throw Failure(
        .usage, at: "--uneven",
        "drop leaves nothing: \(train.count) rows do not fill one batch of \(plan.globalBatchSize)")
    }
    loader = try DataLoader(
      train, plan: plan, rank: communicator.rank, order: command.noShuffle ? .file : .shuffled(seed: seed),
      accumulationSteps: command.gradientAccumulationSteps ?? 1)
    let byEpochs = (command.epochs ?? recipe.epochs) * loader.stepsPerEpoch
    let totalSteps = command.maxSteps ?? byEpochs
    epochs = (totalSteps + loader.stepsPerEpoch - 1) / loader.stepsPerEpoch
    schedule = LinearSchedule(
      peakRate: command.learningRate ?? recipe.learningRate,
      warmupSteps: command.warmupSteps ?? min(recipe.warmupSteps, totalSteps),
      totalSteps: totalSteps)
    guard schedule.warmupSteps <= totalSteps else {
      throw Failure(
        .usage, at: "--warmup-steps", "\(schedule.warmupSteps), expected at most the run's \(totalSteps) steps")
    }
    optimizer = AdamW.Options(
      weightDecay: command.weightDecay ?? recipe.weightDecay, sparesBiasAndNorm: command.noDecayBiasNorm)
    let guess = majority(validation)
    baselines = [("always guessing the majority", guess.accuracy, guess.f1)] + source.baselines
    facts = []
    facts = describe(source, communicator)
  }

  /// Numbers that must be the same on every rank, with what they stand for.
  var fingerprints: [(name: String, value: UInt64)] {
    [
      ("config.json", folder.configurationFingerprint), ("training rows", train.fingerprint),
      ("validation rows", validation.fingerprint),
      ("vocabulary", folder.tokenizer.fingerprint),
    ]
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
    if communicator.size > 1 { batches += " (\(plan.rankBatchSize) a rank)" }
    if loader.accumulationSteps > 1 { batches += ", \(loader.accumulationSteps) to an optimizer step" }
    return [
      (
        "model",
        "\(folder.path): \(configuration.layers) layers of \(configuration.hiddenSize), \(grouped(parameters)) parameters"
      ),
      (
        "data",
        "\(source.dataName): \(grouped(train.count)) training rows, \(grouped(validation.count)) validation rows"
      ),
      ("batches", batches),
      (
        "steps",
        "\(grouped(schedule.totalSteps)) in \(epochs) epoch\(epochs == 1 ? "" : "s"), learning rate \(schedule.peakRate) after \(schedule.warmupSteps) warm-up steps, then linear to 0"
      ),
      ("precision", Multiplier(precision).name),
      (
        "ranks",
        "\(communicator.size), \(communicator.localSize) on this host (\(communicator.host)), \(Hardware.threads) thread\(Hardware.threads == 1 ? "" : "s") each"
      ),
      ("BLAS", Hardware.blas),
      ("seed", "\(seed)"),
    ]
  }
}

/// Accuracy and F1 of always guessing the class that most rows have.
private func majority(_ dataset: TokenizedDataset) -> (accuracy: Double, f1: Double) {
  let classes = dataset.labels.map { label in
    if case .category(let value) = label { value } else { 0 }
  }
  let ones = classes.count { $0 == 1 }
  let guess = 2 * ones >= classes.count ? 1 : 0
  var counts = ClassificationCounts()
  for label in classes { counts.add(label: label, prediction: guess) }
  return (counts.accuracy, counts.f1)
}
