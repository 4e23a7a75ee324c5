import Corpus
import Datasets
import Reporting
import System
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
  /// Rows to evaluate on.
  struct Validation {
    /// Behind the metrics' names: nothing, or `_mm` for MNLI's mismatched rows.
    var suffix = ""
    /// What messages call the rows.
    var name = "the validation rows"
    var rows: SentencePairs
  }

  var folder: ModelFolder
  var dataName: String
  var train: SentencePairs
  /// At least one.
  var validations: [Validation]
  /// Rows that may lack labels.
  var test: SentencePairs?
  var labels: TaskLabels
  var labelNames: [String]
  /// The metrics to report; nil takes the usual ones for such labels.
  var metrics: [String]?
  var recipe = Recipe()
  /// What needs no learning and the program knows of, with its figures.
  var baselines: [(name: String, values: [MetricValue])] = []
  /// What a user should know about the data.
  var notes: [String] = []

  /// The user's model and a folder of GLUE's.
  init(folder path: String, data: String, task: GLUETask, files: InputFiles) throws(Failure) {
    folder = try ModelFolder.named(path, labels: task.labelCount, files)
    try folder.requireTokenTypes(for: task)
    dataName = Self.dataName(task, data)
    train = try loadSplit(task, folder: data, split: .train, files: files)
    validations = try task.validationSplits.map { (split) throws(Failure) in
      try Validation(
        suffix: split == .validationMismatched ? "_mm" : "",
        name: split == .validationMismatched ? "the mismatched validation rows" : "the validation rows",
        rows: loadSplit(task, folder: data, split: split, files: files))
    }
    labels = task.labels
    labelNames = task.labelNames
    metrics = task.metrics
    for rows in [train] + validations.map(\.rows) where rows.rowsLeftOut > 0 {
      notes.append("\(grouped(rows.rowsLeftOut)) rows of \(task.name) have too few cells and are left out")
    }
  }

  private static func dataName(_ task: GLUETask, _ folder: String) -> String {
    guard let origin = CacheOrigin(path: folder) else { return "\(task.name) in \(folder)" }
    return "\(task.name) from \(origin.id.prefix { $0 != "/" })"
  }

  /// The user's model and tables.
  init(folder path: String, tables: OwnTables, files: InputFiles) throws(Failure) {
    // The head's size is known only after the rows are read; what is wrong with the folder comes first.
    var tables = tables
    tables.knownOrder = try ModelFolder.named(path, labels: nil, files).labelNames()
    let loaded = try tables.load(files: files)
    folder = try ModelFolder.named(path, labels: loaded.labels.outputs, files)
    try folder.requireTokenTypes(ofPairs: loaded.textPairColumn != nil, of: tables.train)
    let columns = [loaded.textColumn, loaded.textPairColumn, loaded.labelColumn].compactMap { $0.map { "\"\($0)\"" } }
    dataName = "\(CacheOrigin.shown(tables.train)), columns \(columns.joined(separator: ", "))"
    train = loaded.train
    validations = [Validation(rows: loaded.validation)]
    test = loaded.test
    labels = loaded.labels
    labelNames = loaded.labelNames
  }
}

extension ModelFolder {
  /// The folder `path`; a name of the Hugging Face hub is told from a path that is wrong.
  fileprivate static func named(_ path: String, labels: Int?, _ files: InputFiles) throws(Failure) -> ModelFolder {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    let looksLikeName = parts.count <= 2 && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
    if looksLikeName && !files.exists(path) {
      throw Failure(
        .missingInput, at: path, "there is no such folder",
        hint:
          "./launch looks names up on the Hugging Face hub; a program that is started without it needs a folder"
      )
    }
    return try ModelFolder(path, labels: labels, files: files)
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
    let task = GLUETask.mrpc
    folder = try ModelFolder(
      name: "small BERT", configuration: Array(ParaphraseCorpus.configJSON.utf8),
      tokenizer: Array(ParaphraseCorpus.tokenizerConfigJSON.utf8), vocabulary: corpus.vocabulary,
      labels: task.labelCount)
    dataName = name
    train = try task.parse(corpus.trainTable, path: "\(name)/train.tsv")
    validations = [Validation(rows: try task.parse(corpus.validationTable, path: "\(name)/dev.tsv"))]
    labels = task.labels
    labelNames = task.labelNames
    metrics = task.metrics
    let found = ParaphraseCorpus.recipe
    recipe = Recipe(
      epochs: found.epochs, batchSize: max(1, found.ranks * found.batchSize / ranks), evalBatchSize: 64,
      learningRate: found.learningRate, weightDecay: found.weightDecay, warmupSteps: found.warmupSteps,
      maxGradNorm: found.maxGradNorm, seed: Int(found.seed))
    let rules = corpus.baselines()
    baselines = [
      (
        "a word-overlap rule",
        [MetricValue("accuracy", rules.overlapAccuracy), MetricValue("f1", rules.overlapF1)]
      )
    ]
  }
}
