import Collectives
import Datasets
import Reporting
import RunReport
import System
import Training

/// The job: set up, train, evaluate after each epoch, summarise, save.
func finetune(
  _ command: FinetuneCommand, _ communicator: any Communicator, _ settings: RankSettings, _ reporter: Reporter
) throws(Failure) {
  let begin = ContinuousClock.now
  let job = try readJob(command, communicator, settings)
  let weights = try WeightPlan(
    job.initialization, from: job.folder, ignoresMismatchedSizes: command.ignoreMismatchedSizes, communicator)
  let need =
    MemoryNeed.weights(job.configuration)
    + .training(job.configuration, limits: job.loader.limits, ranksOnHost: communicator.localSize)
  try need.require(for: "the training", communicator)
  let model = try Model(job.configuration, communicator, sharesMemory: settings.sharesMemory)
  try model.load(weights, seed: job.seed, communicator)

  // Last, when nothing else can be wrong: a metrics file of an earlier run is emptied here, or cut.
  let start = model.parameters.digest
  let outputs = try communicator.agree { () throws(Failure) in
    try communicator.isMain
      ? Outputs(job, command, start: start, ranks: communicator.size, host: communicator.host) : Outputs()
  }
  let point = try outputs.sharePoint(communicator)
  try introduce(job, weights.report, notes: outputs.notes, reporter)

  let engine = try makeEngine(job, command, model, communicator, settings)
  engine.lockstep = LockstepOptions(interval: command.lockstepCheck, store: outputs.store)
  if let point, let note = try engine.load(point.checkpoint, point.manifest) { try reporter.line("note: \(note)") }
  communicator.acceptStop()
  let checkpointing = Checkpointing(
    job, command, engine, store: outputs.store, outputs.metrics, reporter, from: point,
    options: job.resultOptions(command, ranks: communicator.size), digests: job.digests(start: start))
  var run = TrainingRun(job, command, engine, checkpointing, outputs, reporter)
  guard try run.train() else { return }
  try run.finish(begin: begin)
}

/// What the job is decided by. Rank 0 reads the files.
private func readJob(
  _ command: FinetuneCommand, _ communicator: any Communicator, _ settings: RankSettings
) throws(Failure) -> Job {
  let paths = try communicator.agree { () throws(Failure) in
    try command.check()
    if command.debugBatch != nil { try DebugBatch.check(processes: communicator.size) }
    return try command.inputPaths()
  }
  let files = try communicator.readOnMain(paths)
  let job = try communicator.agree { () throws(Failure) in try Job(command, files, communicator, settings) }
  // Ranks that have read other things would train on different numbers in silence.
  let fingerprints = job.fingerprints.map { (name: $0.name, value: String($0.value, radix: 16)) }
  try communicator.requireSame(fingerprints, hint: "give every rank the same options")
  return job
}

/// Says what is about to happen.
private func introduce(_ job: Job, _ loaded: LoadReport, notes: [String], _ reporter: Reporter) throws(Failure) {
  try reporter.facts(job.facts)
  for warning in job.folder.tokenizer.warnings {
    try reporter.line("warning: \("\(job.folder.path): \(warning)".escapingControlCharacters)")
  }
  for line in loaded.lines { try reporter.line(line) }
  for baseline in job.baselines {
    try reporter.line("for comparison, \(baseline.name): " + scores(baseline.values))
  }
  for note in job.notes + notes { try reporter.line("note: \(note.escapingControlCharacters)") }
}

private func makeEngine(
  _ job: Job, _ command: FinetuneCommand, _ model: Model, _ communicator: any Communicator, _ settings: RankSettings
) throws(Failure) -> TrainingEngine {
  let engine = try TrainingEngine(
    communicator, model: model, optimizer: job.optimizer, limits: job.loader.limits,
    precision: job.precision, settings: settings, seed: UInt64(bitPattern: Int64(job.seed)),
    maxGradientNorm: command.maxGradNorm ?? job.recipe.maxGradNorm, wire: command.wire.ddpCommHook,
    grouping: job.loader.grouping)
  if command.profile != nil {
    engine.timeline = try Timeline(
      communicator, layers: job.configuration.layers,
      microBatches: min(job.loader.accumulationSteps, job.loader.plan.steps))
  }
  return engine
}
