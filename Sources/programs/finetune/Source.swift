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
  var train: [SentencePair]
  var validation: [SentencePair]
  var labelNames: [String]
  var recipe: Recipe
  var baselines: [(name: String, accuracy: Double, f1: Double)]

  /// The user's model and data, with the write-ups' numbers.
  init(folder path: String, data: String, task: GLUETask) throws(Failure) {
    folder = try ModelFolder(path, labels: task.labelCount)
    dataName = "\(task.name) in \(data)"
    train = try loadSplit(task, folder: data, split: .train)
    validation = try loadSplit(task, folder: data, split: .validation)
    labelNames = task.labelNames
    recipe = Recipe()
    baselines = []
  }
}

extension Source {
  /// What the program brings along.
  static func embedded() throws(Failure) -> Source {
    throw Failure(.usage, at: "--model", "is missing")
  }
}
