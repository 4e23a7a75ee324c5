import ArgumentParser
import Datasets
import Inference
import ProgramSupport
import System
import Training

/// The options of `evaluate`.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Measures a trained model on labelled rows, with intervals, and against another model.")

  @Option(
    name: bothSpellings("model", "model-name-or-path"),
    help: ArgumentHelp(
      "The folder of a trained model, or under ./launch a name on the hub.", valueName: "dir|name"))
  var model: String

  @Option(help: ArgumentHelp("Another model, to be compared with on the same rows.", valueName: "dir"))
  var against: String?

  @OptionGroup var rows: TaskOptions

  @Option(
    name: bothSpellings("test-file"),
    help: ArgumentHelp("Labelled rows of your own: .tsv, .csv or .jsonl.", valueName: "file"))
  var testFile: String?

  @OptionGroup var columns: ColumnOptions

  @Option(
    name: bothSpellings("eval-metrics"), parsing: .upToNextOption,
    help: ArgumentHelp("The metrics. (default: the task's)", valueName: "name"))
  var evalMetrics: [String] = []

  @Option(help: "How often rows are drawn anew for the intervals; 0 for none.")
  var bootstrap = 1000

  @Option(help: "The seed of the draws.")
  var seed = 42

  @Flag(help: "Print a JSON object instead of lines.")
  var json = false

  @OptionGroup var options: ModelOptions

  /// Checks what can be checked before anything is read.
  func check() throws(Failure) {
    try options.check()
    try ProgramSupport.check(bootstrap, "--bootstrap", 0...1_000_000)
    switch (rows.task, testFile) {
    case (nil, nil):
      throw Failure(
        .usage, at: "--task", "is missing, expected --task with --data, or --test-file for rows of your own")
    case (.some, .some): throw Failure(.usage, at: "--test-file", "is given with --task, expected one of them")
    case (.some, nil):
      if rows.data == nil {
        throw Failure(
          .usage, at: "--task", "needs --data",
          hint: "./launch fetches the tables of a task; started without it, name their folder")
      }
      if let option = columns.given { throw Failure(.usage, at: option, "needs --test-file") }
    case (nil, .some(let file)):
      if rows.data != nil { throw Failure(.usage, at: "--data", "needs --task") }
      if rows.split != nil { throw Failure(.usage, at: "--split", "needs --task") }
      _ = try TableFormat(ofFile: file)
    }
    try columns.check()
  }

  /// The paths that rows are read from.
  func inputPaths() throws(Failure) -> [String] {
    guard let name = rows.task else { return [testFile ?? ""] }
    return try GLUETask.named(name).inputPaths(folder: rows.data ?? "", splits: [rows.split ?? .validation])
  }

  /// The rows, with labels as numbers of the model's outputs, what they are called, and the metrics of their task.
  func labelledRows(
    _ predictor: Predictor, path: String, files: InputFiles
  ) throws(Failure) -> (pairs: [SentencePair], name: String, metrics: [String]?) {
    if let name = rows.task {
      let task = try GLUETask.named(name)
      try predictor.folder.requireTokenTypes(for: task)
      let outputs = try predictor.labels.outputs(for: task, model: path)
      let (data, split) = (rows.data ?? "", rows.split ?? .validation)
      let pairs = try loadSplit(task, folder: data, split: split, files: files).map { pair in
        guard case .category(let index) = pair.label else { return pair }
        return SentencePair(first: pair.first, second: pair.second, label: .category(outputs[index]))
      }
      return (pairs, "\(task.name) in \(CacheOrigin.shown(data)), \(split.rawValue)", task.metrics)
    }
    let file = testFile ?? ""
    var tables = OwnTables(train: file, validation: file)
    columns.name(columnsOf: &tables)
    tables.labelNames = predictor.labels.tableNames
    tables.problem = predictor.labels.problem
    let loaded = try tables.load(files: files)
    try predictor.folder.requireTokenTypes(ofPairs: loaded.textPairColumn != nil, of: file)
    return (Array(loaded.train), file, nil)
  }
}
