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
  let clock = ContinuousClock()
  let begin = clock.now
  let paths = try communicator.agree { () throws(Failure) in
    try command.check()
    return try command.inputPaths()
  }
  let files = try communicator.readOnMain(paths)
  let job = try communicator.agree { () throws(Failure) in try Job(command, files, communicator, settings) }
  // Ranks that have read other things would train on different numbers in silence.
  let fingerprints = job.fingerprints.map { (name: $0.name, value: String($0.value, radix: 16)) }
  try communicator.requireSame(fingerprints, hint: "give every rank the same options")

  let weights = try WeightPlan(
    job.initialization, from: job.folder, ignoresMismatchedSizes: command.ignoreMismatchedSizes, communicator)
  let need =
    MemoryNeed.weights(job.configuration)
    + .training(job.configuration, limits: job.loader.limits, ranksOnHost: communicator.localSize)
  try need.require(for: "the training", communicator)
  let model = try Model(job.configuration, communicator, sharesMemory: settings.sharesMemory)
  try model.load(weights, seed: job.seed, communicator)

  // Last, when nothing else can be wrong: a metrics file of an earlier run is emptied here.
  let start = model.parameters.digest
  let opened = try communicator.agree { () throws(Failure) in
    try communicator.isMain
      ? Outputs(job, command, start: start, ranks: communicator.size, host: communicator.host) : Outputs()
  }
  let (output, metrics) = (opened.folder, opened.metrics)
  let point = try opened.sharePoint(communicator)
  try reporter.facts(job.facts)
  for warning in job.folder.tokenizer.warnings {
    try reporter.line("warning: \("\(job.folder.path): \(warning)".escapingControlCharacters)")
  }
  for line in weights.report.lines { try reporter.line(line) }
  for baseline in job.baselines {
    try reporter.line("for comparison, \(baseline.name): " + scores(baseline.values))
  }
  for note in job.notes + opened.notes { try reporter.line("note: \(note.escapingControlCharacters)") }

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
  if let point { try engine.load(point.checkpoint, step: point.manifest.step) }
  communicator.acceptStop()
  let checkpointing = Checkpointing(
    job, command, engine, store: opened.store, metrics, from: point,
    options: job.resultOptions(command, ranks: communicator.size), digests: job.digests(start: start))
  var meter = Meter(
    job, reporter, metrics, opened.logs, keepsSteps: output != nil, firstStep: checkpointing.firstStep)
  let note = { (text: String) throws(Failure) in try reporter.line("note: \(text)") }
  let digests = try communicator.agree { () throws(Failure) in
    try communicator.isMain ? command.stepDigests.map { (path) throws(Failure) in try StepDigests(path) } : nil
  }
  if let step = command.debugBatch {
    try DebugBatch.check(step, after: engine.optimizer.step, total: job.schedule.totalSteps, communicator)
  }
  var lastFound: Evaluation?
  var evaluations = checkpointing.earlier
  for epoch in checkpointing.start.epoch..<job.epochs {
    let skipped = epoch == checkpointing.start.epoch ? checkpointing.start.steps * job.loader.accumulationSteps : 0
    for microBatch in job.loader.epoch(epoch).dropFirst(skipped) {
      if engine.optimizer.step == job.schedule.totalSteps { break }
      try engine.backward(microBatch)
      guard microBatch.isLastInStep else { continue }
      if command.debugBatch == engine.optimizer.step + 1 {
        return try DebugBatch.write(engine.inspectWindow(), step: engine.optimizer.step + 1, reporter)
      }
      let step = try engine.step(learningRate: job.schedule.rate(step: engine.optimizer.step + 1))
      try meter.record(step, epoch: epoch, rows: microBatch.rowsInStep)
      if command.stepDigests != nil {
        // Nobody changes the weights before they are read.
        try communicator.agree { () throws(Failure) in
          if let digests { try digests.write(step, model) }
        }
      }
      if command.lockstepCheck > 0 && step.step % command.lockstepCheck == 0 {
        try engine.checkLockstep(learningRate: step.learningRate)
      }
      if step.isAskedToStop && step.step < job.schedule.totalSteps {
        communicator.noteResult(digest: model.parameters.digest)
        let saved =
          checkpointing.isOn ? try checkpointing.save(evaluations, evaluated: false) : nil
        communicator.noteStop()
        return try reporter.line(
          "stopped after step \(step.step) of \(job.schedule.totalSteps), as asked; "
            + (saved.map { "saved in \($0), --resume-from-checkpoint latest continues from there" }
              ?? "nothing is saved")
        )
      }
      if checkpointing.isDue(afterStep: step.step) {
        try checkpointing.saveBeside(evaluations, evaluated: true, note: note)
        meter.restartClock()
      }
    }
    let found = try job.validations.map { (rows) throws(Failure) in
      try engine.evaluate(rows.rows, batchSize: job.evalBatchSize)
    }
    lastFound = found.first
    evaluations.append(try meter.record(found, step: engine.optimizer.step, epoch: epoch))
    if checkpointing.isDue(afterEvaluationAt: engine.optimizer.step) {
      try checkpointing.saveBeside(evaluations, evaluated: true, note: note)
      meter.restartClock()
    }
  }
  try checkpointing.finish()
  try finishTest(job, command, engine, meter)

  let times = try TimeReport(engine)
  let folder = try communicator.agree { () throws(Failure) in
    try output.map { (output) throws(Failure) in
      var run = RunRecord(job, command, communicator, times)
      (run.steps, run.evaluations) = (meter.steps, evaluations)
      if let lastFound { run.take(lastFound.rows, texts: job.validations[0].texts) }
      return try job.folder.save(
        model, to: output, labelNames: job.labelNames, problem: job.labels.problem,
        further: reportFiles(run, job, command))
    }
  }
  communicator.noteResult(digest: model.parameters.digest)
  if let path = command.profile { try engine.timeline?.write(to: path) }
  try summarize(
    evaluations, job, meter, times, seconds: (clock.now - begin).seconds,
    savedTo: folder.map { saved in saved == output?.path ? command.outputDir ?? saved : saved }, reporter)
  if let path = command.profile, let timeline = engine.timeline {
    let missing = timeline.stepsLeftOut
    try reporter.line(
      "timeline in \(path)" + (missing > 0 ? ", without the last \(grouped(missing)) steps: no room" : ""))
  }
}

/// Evaluates the test rows, and writes what the model predicts for them.
private func finishTest(
  _ job: Job, _ command: FinetuneCommand, _ engine: TrainingEngine, _ meter: Meter
) throws(Failure) {
  guard let test = job.test else { return }
  let rows: EvaluatedRows
  if test.labels.contains(.unknown) {
    rows = try engine.predict(test, batchSize: job.evalBatchSize)
  } else {
    let evaluation = try engine.evaluate(test, batchSize: job.evalBatchSize)
    try meter.record(test: evaluation, step: engine.optimizer.step)
    rows = evaluation.rows
  }
  try engine.communicator.agree { () throws(Failure) in
    guard let path = command.tables.predictions, engine.communicator.isMain else { return }
    let names: TaskLabels =
      switch job.labels {
      case .classes: .classes(job.labelNames)
      case .classSets, .scores: job.labels
      }
    try PredictionsFile.write(rows, names, to: path)
  }
}
