import Collectives
import Datasets
import Glibc
import Inference
import JSON
import Reporting
import RunReport
import System
import Training

extension RunRecord {
  /// What is known of a run beside what happened in it.
  init(_ job: Job, _ command: FinetuneCommand, _ communicator: any Communicator, _ times: TimeReport) {
    let name = command.tables.trainFile == nil && command.model != nil ? "task \(command.task ?? "mrpc")" : job.dataName
    self.init(
      title: "\(CacheOrigin(path: job.folder.path)?.id ?? lastComponent(of: job.folder.path)), \(name)",
      labels: ModelLabels(job.labels.problem, names: job.labelNames))
    metricNames = job.validations.flatMap { rows in job.metric.names.map { $0 + rows.suffix } }
    self.times = times.secondsByKind.enumerated().map { RankTime(rank: $0, host: $1.host, seconds: $1.seconds) }
    settings = Self.settings(job, command)
    versions = Self.versions(job.settings, communicator)
    self.command =
      ["./launch", "--num_processes", "\(communicator.size)", "finetune"]
      + Self.namingOrigins(Array(CommandLine.arguments.dropFirst()))
  }

  /// The arguments with names for what `./launch` found in the cache, so that the command works elsewhere too.
  private static func namingOrigins(_ arguments: [String]) -> [String] {
    var result: [String] = []
    for argument in arguments {
      let value = argument.split(separator: "=", maxSplits: 1).last.map(String.init) ?? ""
      guard let origin = CacheOrigin(path: value), origin.file.isEmpty else {
        result.append(argument)
        continue
      }
      switch origin.kind {
      case "models": result.append(argument.dropLast(value.count) + origin.name)
      // What --task says already.
      default: if argument == value, result.last == "--data" { result.removeLast() }
      }
    }
    return result
  }

  private static func settings(_ job: Job, _ command: FinetuneCommand) -> [Setting] {
    let standard = command.model == nil ? "the embedded default" : "default"
    func given(_ option: String, _ isGiven: Bool) -> String { isGiven ? option : standard }
    let plan = job.loader.plan
    var settings = [
      Setting(
        "model", CacheOrigin(path: job.folder.path)?.name ?? job.folder.path, given("--model", command.model != nil)),
      Setting(
        "data", job.dataName, command.tables.trainFile != nil ? "--train-file" : given("--data", command.data != nil)),
      Setting("initial weights", job.initialization.rawValue, command.initialization == .random ? "--init" : standard),
      Setting(
        "epochs", "\(job.epochs)",
        given(command.maxSteps == nil ? "--epochs" : "--max-steps", (command.maxSteps ?? command.epochs) != nil)),
      Setting("steps", "\(job.schedule.totalSteps)", command.maxSteps == nil ? "epochs" : "--max-steps"),
      Setting("rows of a batch on each rank", "\(plan.rankBatchSize)", given("--batch-size", command.batchSize != nil)),
      Setting(
        "rows of a batch on all ranks", "\(plan.globalBatchSize)", command.splitBatches ? "--split-batches" : "ranks"),
      Setting(
        "rows of a batch in evaluation", "\(job.evalBatchSize)",
        given("--eval-batch-size", command.evalBatchSize != nil)),
      Setting(
        "gradient accumulation steps", "\(job.loader.accumulationSteps)",
        given("--gradient-accumulation-steps", command.gradientAccumulationSteps != nil)),
      Setting("learning rate", "\(job.schedule.peakRate)", given("--learning-rate", command.learningRate != nil)),
      Setting("schedule", job.schedule.kind.rawValue, given("--lr-scheduler-type", command.schedule != .linear)),
      Setting("warm-up steps", "\(job.schedule.warmupSteps)", given("--warmup-steps", command.warmupSteps != nil)),
      Setting("weight decay", "\(job.optimizer.weightDecay)", given("--weight-decay", command.weightDecay != nil)),
      Setting(
        "weight decay of biases and LayerNorm", job.optimizer.sparesBiasAndNorm ? "no" : "yes",
        given("--no-decay-bias-norm", command.noDecayBiasNorm)),
    ]
    let norm = command.maxGradNorm ?? job.recipe.maxGradNorm
    settings.append(
      Setting(
        "largest gradient norm", norm.map { "\($0)" } ?? "none", given("--max-grad-norm", command.maxGradNorm != nil)))
    settings.append(
      Setting(
        "steps with numbers that are not finite", command.nonFinite.rawValue,
        given("--non-finite", command.nonFinite != .stop)))
    let dropout = command.dropout.map { ("\($0)", "--dropout") } ?? job.recipe.dropout.map { ("\($0)", standard) }
    settings.append(Setting("dropout", dropout?.0 ?? "the model's", dropout?.1 ?? "config.json"))
    settings += [
      Setting(
        "most tokens of a row", "\(job.train.longestRow) in the training rows",
        given("--max-length", command.maxLength != nil)),
      Setting(
        "order of rows", command.noShuffle ? "that of the file" : "shuffled", given("--no-shuffle", command.noShuffle)),
      Setting("uneven batches", command.uneven.rawValue, given("--uneven", command.uneven != .exact)),
      Setting(
        "precision", job.precision.rawValue,
        command.precision.mixedPrecision != nil
          ? "--mixed-precision" : given("--float32-matmul-precision", command.precision.float32MatmulPrecision != nil)),
      Setting(
        "gradients between hosts", command.wire.ddpCommHook.rawValue,
        given("--ddp-comm-hook", command.wire.ddpCommHook != .no)),
      Setting("seed", "\(job.seed)", given("--seed", command.seed != nil)),
    ]
    return settings
  }

  private static func versions(
    _ settings: RankSettings, _ communicator: any Communicator
  ) -> [(name: String, value: String)] {
    var system = utsname()
    uname(&system)
    func text(_ field: some Any) -> String {
      withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
    return [
      (
        "ranks",
        "\(communicator.size), \(communicator.localSize) on the host of rank 0, \(settings.threads) threads each"
      ),
      ("BLAS", Hardware.blas), ("system", "\(text(system.sysname)) \(text(system.release)) \(text(system.machine))"),
      ("processor", processorName() ?? "unknown"),
    ]
  }
}

/// The files that a run leaves beside its model: the page, what `report` reads, and the model's card.
func reportFiles(
  _ run: RunRecord, _ job: Job, _ command: FinetuneCommand
) throws(Failure) -> [(name: String, bytes: [UInt8])] {
  let path = command.outputDir ?? ""
  let isOwnTables = command.tables.trainFile != nil
  let isEmbedded = command.model == nil
  let task = command.task.flatMap { try? GLUETask.named($0) } ?? .mrpc
  let card = ModelCard(
    name: lastComponent(of: path),
    baseModel: isEmbedded || job.initialization == .random
      ? nil
      : ModelCard.hubName(ofFolder: job.folder.path, nameInConfiguration: try job.folder.nameInConfiguration())
        ?? lastComponent(of: job.folder.path),
    dataset: isOwnTables || isEmbedded
      ? nil : (type: "nyu-mll/glue", configuration: task.name, name: "GLUE \(task.name)", language: "en"),
    data:
      "\(cardData(job, command, task)): \(grouped(job.train.count)) training rows, \(grouped(job.validations[0].rows.count)) validation rows.",
    metrics: (run.evaluations.last.map { [MetricValue("loss", $0.loss)] + $0.values } ?? []).filter { value in
      run.metricNames.contains(value.name)
    },
    // Folders of this machine say nothing to others.
    settings: run.settings.filter { !["model", "data"].contains($0.name) },
    isRegression: job.labels.problem == .regression)
  let bytes = ModelFolder.keptCard(in: path, mark: ModelCard.mark) ?? Array(card.text.utf8)
  return [
    (ModelFolder.cardName, bytes), ("report.html", ReportPage.html(run)), ("report.json", run.summary.bytes),
  ]
}

/// What the rows are called on the model's card.
private func cardData(_ job: Job, _ command: FinetuneCommand, _ task: GLUETask) -> String {
  if command.model == nil { return job.dataName }
  return command.tables.trainFile.map { lastComponent(of: $0) } ?? "GLUE \(task.name)"
}
