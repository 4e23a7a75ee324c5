import ArgumentParser
import Datasets
import ProgramSupport
import Reporting
import RunReport
import System
import Training

/// The options of `finetune`, with Hugging Face's names. What is nil falls to the recipe: the write-ups' for a real job,
/// the corpus's own for the embedded default.
struct FinetuneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "finetune",
    abstract: "Fine-tunes BERT on sentence pairs, on as many ranks as it was started on.",
    discussion: "Without --model and --data it trains a small BERT on the embedded paraphrase corpus.")

  @Option(
    name: bothSpellings("model", "model-name-or-path"),
    help: ArgumentHelp(
      "A checkpoint folder in the Hugging Face layout, or under ./launch a name on the hub.", valueName: "dir|name"))
  var model: String?

  @OptionGroup var named: NamedInputOptions

  @Option(name: .customLong("init"), help: "checkpoint: the folder's weights. random: its geometry with fresh weights.")
  var initialization = Initialization.checkpoint

  @Flag(
    name: bothSpellings("ignore-mismatched-sizes"),
    help: "Weights start fresh where the checkpoint's have another shape, as its classifier for other labels.")
  var ignoreMismatchedSizes = false

  @Option(
    name: bothSpellings("task", "task-name"),
    help: "The task: \(GLUETask.all.map(\.name).joined(separator: ", ")). (default: mrpc)")
  var task: String?

  @Option(
    help: ArgumentHelp(
      "The folder of the task's tables. (default: ./launch fetches those of --task)", valueName: "dir"))
  var data: String?

  @OptionGroup var tables: TableOptions

  @Option(
    name: bothSpellings("eval-metrics"), parsing: .upToNextOption,
    help: ArgumentHelp("The metrics of validation rows. (default: the task's)", valueName: "name"))
  var evalMetrics: [String] = []

  @Option(name: bothSpellings("epochs", "num-train-epochs"), help: "Passes over the training rows. (default: 3)")
  var epochs: Int?

  @Option(
    name: bothSpellings("batch-size", "per-device-train-batch-size"),
    help: "Rows of a batch on each rank; with --split-batches on all together. (default: 8)"
  )
  var batchSize: Int?

  @Option(
    name: bothSpellings("eval-batch-size", "per-device-eval-batch-size"),
    help: "Rows of a batch in evaluation, on each rank. (default: 8)")
  var evalBatchSize: Int?

  @Option(name: bothSpellings("learning-rate"), help: "The highest learning rate. (default: 3e-5)")
  var learningRate: Double?

  @Option(name: bothSpellings("weight-decay"), help: "AdamW's weight decay. (default: 0.01)")
  var weightDecay: Double?

  @Option(
    name: bothSpellings("warmup-steps", "num-warmup-steps"), help: "Optimizer steps of linear warm-up. (default: 0)")
  var warmupSteps: Int?

  @Option(
    name: bothSpellings("lr-scheduler-type"),
    help:
      "What the rate does after the warm-up: \(RateSchedule.Kind.allCases.map(\.rawValue).joined(separator: ", "))."
  )
  var schedule = RateSchedule.Kind.linear

  @Option(
    name: bothSpellings("max-steps", "max-train-steps"), help: "Optimizer steps in all; overrides --epochs.")
  var maxSteps: Int?

  @Option(
    name: bothSpellings("max-length"),
    help: "The most tokens of a row, special ones included. (default: 512, or what the model has)")
  var maxLength: Int?

  @Option(name: bothSpellings("gradient-accumulation-steps"), help: "Micro-batches of one optimizer step. (default: 1)")
  var gradientAccumulationSteps: Int?

  @Option(name: bothSpellings("max-grad-norm"), help: "Clips the gradient to this norm.")
  var maxGradNorm: Double?

  @Option(
    name: bothSpellings("non-finite"),
    help:
      "What becomes of a step whose loss or gradient is not a finite number. stop: the job ends. skip: all ranks leave it out."
  )
  var nonFinite = NonFinitePolicy.stop

  @Option(help: "Every dropout of the model. (default: config.json's)")
  var dropout: Double?

  @OptionGroup var precision: PrecisionOptions

  @OptionGroup var wire: WireOptions

  @Option(
    help:
      "How gradients are added. fast: as they come. invariant: in one fixed order, for the same bits on any number of ranks and hosts."
  )
  var reduction = ReductionMode.fast

  @Option(help: "Seed of the order, of dropout and of fresh weights. (default: 42)")
  var seed: Int?

  @Flag(name: bothSpellings("no-shuffle"), help: "Keep the order of the file.")
  var noShuffle = false

  @Flag(name: bothSpellings("split-batches"), help: "The batch size is that of all ranks together.")
  var splitBatches = false

  @Option(
    help:
      "What becomes of rows that do not fill the last batches: exact deals them out, pad repeats others, drop leaves them out."
  )
  var uneven = TailPolicy.exact

  @Flag(name: bothSpellings("no-decay-bias-norm"), help: "Leave biases and LayerNorm out of weight decay.")
  var noDecayBiasNorm = false

  @Option(
    name: bothSpellings("output-dir"),
    help: ArgumentHelp(
      "Where to save the trained model. The folder is replaced as a whole; it is missing, empty, or holds only a model that this program saved.",
      valueName: "dir"))
  var outputDir: String?

  @Flag(
    name: bothSpellings("overwrite-output-dir"),
    help: "Replace the folder of --output-dir whatever is in it; all of that is removed.")
  var overwriteOutputDir = false

  @OptionGroup var checkpoints: CheckpointOptions

  @Option(
    help: ArgumentHelp(
      "Where to write metrics as JSON lines: a new file, an earlier metrics file or /dev/null.", valueName: "file"))
  var metrics: String?

  @Option(
    name: bothSpellings("lockstep-check"),
    help: "Steps after which ranks and hosts compare their numbers; 0 never does. (default: 50)")
  var lockstepCheck = 50

  @Option(
    name: bothSpellings("step-digests"),
    help: ArgumentHelp(
      "Where to write a digest of each tensor's weights after every step, to compare runs.", valueName: "file"))
  var stepDigests: String?

  @Option(
    name: bothSpellings("debug-rows"),
    help: ArgumentHelp(
      "Where to write which rows each rank has used in each step.", valueName: "file"))
  var debugRows: String?

  @Option(
    name: bothSpellings("debug-batch"),
    help: ArgumentHelp(
      "Show this step's loss, outputs and gradients and stop before it; writes nothing. In one process, mostly from a checkpoint.",
      valueName: "step"))
  var debugBatch: Int?

  @Option(
    name: bothSpellings("report-to"),
    help: ArgumentHelp(
      "Logs to write while the run goes on, with commas between them: tensorboard, csv, jsonl.", valueName: "logs"))
  var reportTo: String?

  @Option(
    name: bothSpellings("logging-dir"),
    help: ArgumentHelp("The folder of --report-to's logs.", valueName: "dir"))
  var loggingDir: String?

  @Option(help: ArgumentHelp("Where to write a timeline of all ranks, in Chrome's trace format.", valueName: "file"))
  var profile: String?

  /// Checks what can be checked before anything is read.
  func check() throws(Failure) {
    try ProgramSupport.check(epochs, "--epochs", Limits.epochs)
    try ProgramSupport.check(batchSize, "--batch-size", Limits.batchSize)
    try ProgramSupport.check(evalBatchSize, "--eval-batch-size", Limits.batchSize)
    try ProgramSupport.check(maxSteps, "--max-steps", Limits.steps)
    try ProgramSupport.check(maxLength, "--max-length", Limits.length)
    try ProgramSupport.check(
      gradientAccumulationSteps, "--gradient-accumulation-steps", Limits.accumulationSteps)
    try ProgramSupport.check(warmupSteps, "--warmup-steps", 0...Limits.steps.upperBound)
    try ProgramSupport.check(learningRate, "--learning-rate", atLeast: 0)
    try ProgramSupport.check(weightDecay, "--weight-decay", atLeast: 0)
    if let maxGradNorm, !maxGradNorm.isFinite || maxGradNorm <= 0 {
      throw Failure(.usage, at: "--max-grad-norm", "\(maxGradNorm), expected more than 0")
    }
    if let dropout, !(dropout >= 0 && dropout < 1) {
      throw Failure(.usage, at: "--dropout", "\(dropout), expected at least 0 and less than 1")
    }
    try named.check()
    try ProgramSupport.check(lockstepCheck, "--lockstep-check", 0...Limits.steps.upperBound)
    try ProgramSupport.check(debugBatch, "--debug-batch", Limits.steps)
    try checkReduction()
    try checkSource()
    _ = try logs()
    if model == nil && initialization == .random {
      throw Failure(
        .usage, at: "--init", "random needs --model", hint: "the folder whose geometry and vocabulary to take")
    }
    try checkOutputs()
    if debugBatch != nil && overwriteOutputDir {
      throw Failure(
        .usage, at: "--overwrite-output-dir",
        "removes what is there, expected none with --debug-batch, which only reads",
        hint: "leave one of the two out")
    }
    try checkpoints.check(outputDir: outputDir)
  }

  /// Refuses what makes numbers depend on the ranks where they may not.
  private func checkReduction() throws(Failure) {
    guard reduction == .invariant else { return }
    if wire.ddpCommHook.rounds {
      throw Failure(
        .usage, at: "--ddp-comm-hook",
        "\(wire.ddpCommHook.rawValue) rounds what travels between hosts, expected no with --reduction invariant")
    }
    if uneven == .pad {
      throw Failure(
        .usage, at: "--uneven", "pad repeats rows on several ranks only, expected exact with --reduction invariant")
    }
  }

  /// The paths whose content decides the run, apart from weights and checkpoints.
  func inputPaths() throws(Failure) -> [String] {
    guard let model else { return [] }
    let rows: [String]
    if let tables = tables.tables {
      rows = tables.inputPaths
    } else {
      let task = try task.map(GLUETask.named) ?? .mrpc
      rows = task.inputPaths(folder: data ?? "", splits: [.train] + task.validationSplits)
    }
    return ModelFolder.inputPaths(model) + rows
  }

  /// Refuses half a source, and two of them.
  private func checkSource() throws(Failure) {
    if model == nil {
      let given = [("--data", data), ("--train-file", tables.trainFile), ("--task", task)]
      guard let (option, _) = given.first(where: { $0.1 != nil }) else { return try tables.check() }
      throw Failure(
        .usage, at: option, "needs --model", hint: "a checkpoint folder, with --init random if it has no weights")
    }
    try tables.check()
    if tables.trainFile == nil && data == nil {
      throw Failure(
        .usage, at: task == nil ? "--model" : "--task", "needs --data",
        hint: task != nil
          ? "./launch fetches the tables of a task; started without it, name their folder"
          : "the folder with train.tsv and dev.tsv; or --task fetches a task's tables; or --train-file and --validation-file for tables of your own"
      )
    }
    for (option, value) in [("--data", data), ("--task", task)] where tables.trainFile != nil && value != nil {
      throw Failure(.usage, at: option, "is for GLUE's folders, --train-file for tables of your own, expected one")
    }
  }

  /// Refuses outputs that would replace what the run reads, or one another.
  private func checkOutputs() throws(Failure) {
    let inputs = [(option: "--model", path: model), ("--data", data)] + tables.files
    if let outputDir {
      for case (let option, let input?) in inputs where isInside(outputDir, input) || isInside(input, outputDir) {
        throw Failure(
          .usage, at: "--output-dir",
          "\(outputDir) and \(input), given with \(option), are one or lie in each other",
          hint: "name a folder elsewhere, for it is replaced as a whole")
      }
    } else if overwriteOutputDir {
      throw Failure(.usage, at: "--overwrite-output-dir", "needs --output-dir")
    }
  }

  /// The logs that `--report-to` names, each once.
  func logs() throws(Failure) -> [RunLogs.Kind] {
    guard let reportTo else {
      if loggingDir != nil { throw Failure(.usage, at: "--logging-dir", "needs --report-to") }
      return []
    }
    guard loggingDir != nil else {
      throw Failure(.usage, at: "--report-to", "needs --logging-dir", hint: "the folder to write the logs to")
    }
    var kinds: [RunLogs.Kind] = []
    for name in reportTo.split(separator: ",", omittingEmptySubsequences: false) {
      guard let kind = RunLogs.Kind(rawValue: String(name)), !kinds.contains(kind) else {
        throw Failure(
          .usage, at: "--report-to",
          "\"\(name)\", expected " + RunLogs.Kind.allCases.map(\.rawValue).joined(separator: ", ") + ", each once")
      }
      kinds.append(kind)
    }
    return kinds
  }

  /// Refuses files for reports that would replace something else. For the rank that writes them.
  func checkReports() throws(Failure) {
    let folders = [(option: "--output-dir", path: outputDir), ("--model", model)]
    if let loggingDir { try RunLogs.check(logs(), folder: loggingDir, option: "--logging-dir", notIn: folders) }
    if let metrics { try MetricsFile.check(metrics, option: "--metrics", notIn: folders) }
    if let stepDigests { try StepDigests.check(stepDigests, notIn: folders) }
    if let debugRows {
      try DebugRows.check(
        debugRows, notIn: folders, notAs: [("--metrics", metrics), (StepDigests.option, stepDigests)])
    }
    if let profile { try Timeline.check(profile, option: "--profile", notIn: folders, notAs: [("--metrics", metrics)]) }
    if let predictions = tables.predictions {
      try PredictionsFile.check(
        predictions, notIn: folders, notAs: [("--metrics", metrics), ("--profile", profile)])
    }
  }
}
