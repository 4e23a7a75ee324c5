import ArgumentParser
import BERT
import Datasets
import Kernels
import ProgramSupport
import System
import Training

/// `inspect forward`: logits, loss and gradients of one batch, for comparing with another implementation.
struct ForwardCommand: Inspection {
  static let configuration = CommandConfiguration(
    commandName: "forward",
    abstract: "Prints logits and loss of the first rows as one batch, dropout off, and writes all gradients.")

  @Option(
    help: ArgumentHelp(
      "The checkpoint's folder, with weights; under ./launch a name on the hub, too.", valueName: "dir|name"))
  var model: String

  @OptionGroup var revision: RevisionOption

  @Option(help: "The task.")
  var task = GLUETask.mrpc.name

  @Option(help: ArgumentHelp("The folder of the task's tables. (./launch fetches those of --task)", valueName: "dir"))
  var data: String

  @Option(help: "The split: train, validation or test.")
  var split = Split.validation

  @Option(help: "How many rows, from the first on.")
  var rows = 8

  @Option(name: bothSpellings("max-length"), help: "The most tokens of a row, special ones included.")
  var maxLength = 512

  @Flag(
    name: bothSpellings("ignore-mismatched-sizes"),
    help: "Weights start fresh where the checkpoint's have another shape.")
  var ignoreMismatchedSizes = false

  @OptionGroup var precision: PrecisionOptions

  @Option(help: ArgumentHelp("Where to write every gradient of the mean loss, as safetensors.", valueName: "file"))
  var gradients: String?

  func run(_ settings: RankSettings) throws {
    try revision.check()
    try check(rows, "--rows", Limits.rows)
    if let gradients {
      try GradientsFile.check(gradients, option: "--gradients", notIn: [("--model", model), ("--data", data)])
    }
    let task = try GLUETask.named(task)
    let folder = try ModelFolder(model, labels: task.labelCount)
    try folder.requireTokenTypes(for: task)
    let pairs = try loadSplit(task, folder: data, split: split)
    guard rows <= pairs.count else {
      throw Failure(.usage, at: "--rows", "\(rows), expected at most the split's \(pairs.count)")
    }
    let dataset = try folder.tokenized(
      Array(pairs.prefix(rows)), maxLength: maxLength, name: "the \(split.rawValue) rows")
    let weights = try WeightPlan(
      folder: folder.path, for: folder.configuration, ignoresMismatchedSizes: ignoreMismatchedSizes)
    try MemoryNeed.weights(folder.configuration).require(for: "the model")
    let model = Model(folder.configuration)
    try model.load(weights, seed: 0)
    for line in weights.report.lines { printError("inspect: warning: \(line)") }
    let result = try model.forwardBackward(
      asOneBatch: dataset, keepsGradients: gradients != nil,
      gemm: settings.gemm(precision.precision(settings), threads: ThreadPool(count: 1)))

    var output = JSONOutput()
    output.raw("{\"rows\":")
    output.number(rows)
    output.raw(",\"logits\":")
    output.list(0..<rows) { output, row in
      output.list(0..<task.labelCount) { $0.float(result.logits[row * task.labelCount + $1]) }
    }
    output.raw(",\"loss\":")
    output.double(result.loss)
    if let path = gradients, let values = result.gradients {
      try GradientsFile.write(values, of: model, to: path)
      output.raw(",\"grad_norm\":")
      output.double(result.gradientNorm)
      output.raw(",\"gradients\":")
      output.string(path)
    }
    output.raw("}\n")
    try output.flush()
  }
}
