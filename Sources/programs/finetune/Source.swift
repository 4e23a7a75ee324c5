import Corpus
import Datasets
import FileSystem
import Training

/// The numbers of a run that nobody gave on the command line.
struct Recipe {
  var epochs = 3
  var batchSize = 8
  var evalBatchSize = 8
  var learningRate = 3e-5
  var weightDecay = 0.01
  var warmupSteps = 0
  var maxGradNorm: Double?
  /// Nil keeps the rates of config.json.
  var dropout: Double?
  var seed = 42
}

/// A model and its data: a checkpoint folder with a task's tables, or what the program brings along.
struct Source {
  var folder: ModelFolder
  var dataName: String
  var train: SentencePairs
  var validation: SentencePairs
  var labelNames: [String]
  var recipe: Recipe
  var baselines: [(name: String, accuracy: Double, f1: Double)]

  /// The user's model and data, with the write-ups' numbers.
  init(folder path: String, data: String, task: GLUETask) throws(Failure) {
    folder = try ModelFolder(path, labels: task.labelCount)
    try folder.requireTokenTypes(for: task)
    dataName = "\(task.name) in \(data)"
    train = try loadSplit(task, folder: data, split: .train)
    validation = try loadSplit(task, folder: data, split: .validation)
    labelNames = task.labelNames
    recipe = Recipe()
    baselines = []
  }
}

extension Source {
  /// What the program brings along: the paraphrase corpus and the geometry and numbers that were found for it.
  ///
  /// - Parameter ranks: the rate was found for one global batch, which is dealt out to the ranks.
  static func embedded(ranks: Int) throws(Failure) -> Source {
    try Source(ParaphraseCorpus.standard, ranks: ranks)
  }

  private init(_ corpus: ParaphraseCorpus, ranks: Int) throws(Failure) {
    let name = "embedded paraphrase corpus"
    folder = try ModelFolder(
      name: "small BERT", configuration: Array(ParaphraseCorpus.configJSON.utf8),
      tokenizer: Array(ParaphraseCorpus.tokenizerConfigJSON.utf8), vocabulary: corpus.vocabulary,
      labels: GLUETask.mrpc.labelCount)
    dataName = name
    train = try GLUETask.mrpc.parse(corpus.trainTable, path: "\(name)/train.tsv")
    validation = try GLUETask.mrpc.parse(corpus.validationTable, path: "\(name)/dev.tsv")
    labelNames = GLUETask.mrpc.labelNames
    let found = ParaphraseCorpus.recipe
    recipe = Recipe(
      epochs: found.epochs, batchSize: max(1, found.ranks * found.batchSize / ranks), evalBatchSize: 64,
      learningRate: found.learningRate, weightDecay: found.weightDecay, warmupSteps: found.warmupSteps,
      maxGradNorm: found.maxGradNorm, seed: Int(found.seed))
    let rules = corpus.baselines()
    baselines = [("a word-overlap rule", rules.overlapAccuracy, rules.overlapF1)]
  }
}
