import Collectives
import Datasets
import Reporting
import RunReport
import System
import Training

/// A training from where it begins to its end, with all that is written on the way. Its functions are called by all ranks.
struct TrainingRun {
  private let job: Job
  private let command: FinetuneCommand
  private let engine: TrainingEngine
  private let checkpointing: Checkpointing
  private let output: OutputFolder?
  private let reporter: Reporter
  /// On rank 0, where they are asked for.
  private let digests: StepDigests?
  private let rowsFile: DebugRows?
  /// Of this rank, since the last step.
  private var rowsSinceStep: [Int] = []
  private var meter: Meter
  private var lastFound: Evaluation?
  private var evaluations: [EvaluationRecord]
  private var communicator: any Communicator { engine.communicator }

  init(
    _ job: Job, _ command: FinetuneCommand, _ engine: TrainingEngine, _ checkpointing: Checkpointing,
    _ outputs: Outputs, _ reporter: Reporter
  ) {
    (self.job, self.command, self.engine, self.checkpointing) = (job, command, engine, checkpointing)
    (output, self.reporter) = (outputs.folder, reporter)
    meter = Meter(
      job, reporter, outputs.metrics, outputs.logs, keepsSteps: output != nil, firstStep: checkpointing.firstStep)
    evaluations = checkpointing.earlier
    (digests, rowsFile) = (outputs.digests, outputs.rows)
  }

  /// Takes all steps; false where the run ends before, because it was asked to or has shown what it was asked for.
  mutating func train() throws(Failure) -> Bool {
    let start = checkpointing.start
    guard start.epoch < job.epochs else { return try evaluateForReport() }
    try checkpointing.prepare()
    meter.restartClock()
    for epoch in start.epoch..<job.epochs {
      let skipped = epoch == start.epoch ? start.steps * job.loader.accumulationSteps : 0
      for microBatch in job.loader.epoch(epoch).dropFirst(skipped) {
        if engine.steps == job.schedule.totalSteps { break }
        try engine.backward(microBatch)
        if command.debugRows != nil { rowsSinceStep += microBatch.rows }
        guard microBatch.isLastInStep else { continue }
        guard try step(epoch: epoch, rows: microBatch.rowsInStep) else { return false }
      }
      guard try evaluate(epoch: epoch) else { return false }
    }
    return true
  }

  /// Takes the step whose gradients are there; false where the run ends with it.
  private mutating func step(epoch: Int, rows: Int) throws(Failure) -> Bool {
    let next = engine.steps + 1
    if command.debugBatch == next {
      try DebugBatch.write(engine.inspectWindow(), step: next, reporter)
      return false
    }
    // A schedule follows the steps that were taken, as Accelerate's does.
    let step = try engine.step(learningRate: job.schedule.rate(step: engine.optimizer.step + 1))
    if let problem = step.skipped { try reporter.line("note: step \(step.step) is left out: \(problem)") }
    try meter.record(step, epoch: epoch, rows: rows)
    if command.debugRows != nil {
      let all = try DebugRows.gather(rowsSinceStep, communicator)
      try communicator.agree { () throws(Failure) in try rowsFile?.write(step: step.step, epoch: epoch + 1, all) }
      rowsSinceStep = []
    }
    if command.stepDigests != nil {
      // Nobody changes the weights before they are read.
      try communicator.agree { () throws(Failure) in
        if let digests { try digests.write(step, engine.model) }
      }
    }
    try engine.checkLockstepWhereDue()
    if step.isAskedToStop && step.step < job.schedule.totalSteps {
      try stop(evaluated: false)
      return false
    }
    if checkpointing.isDue(afterStep: step.step) { try saveCheckpoint() }
    return true
  }

  /// Saves where the run stands, and ends it as the user asked.
  ///
  /// - Parameter evaluated: whether the evaluation that follows the step is done.
  private func stop(evaluated: Bool) throws(Failure) {
    communicator.noteResult(digest: engine.model.parameters.digest)
    try flushLines()
    let saved = checkpointing.isOn ? try checkpointing.saveAtStop(evaluations, evaluated: evaluated) : nil
    // Only now: a stop whose checkpoint is not saved is a failure.
    communicator.noteStop()
    try reporter.line(
      "stopped after step \(engine.steps) of \(job.schedule.totalSteps), as asked; "
        + (saved.map { "saved in \($0), --resume-from-checkpoint latest continues from there" } ?? "nothing is saved"))
  }

  /// Makes what is written of the steps so far durable: where there is a checkpoint, its steps are in these files.
  private func flushLines() throws(Failure) {
    guard command.stepDigests != nil || command.debugRows != nil else { return }
    try communicator.agree { () throws(Failure) in
      try digests?.flush()
      try rowsFile?.flush()
    }
  }

  private mutating func saveCheckpoint() throws(Failure) {
    try flushLines()
    try checkpointing.saveBeside(evaluations, evaluated: true)
    meter.restartClock()
  }

  /// Evaluates the model as it is; false where the run ends in the middle of that, as it was asked to.
  private mutating func evaluate(epoch: Int) throws(Failure) -> Bool {
    var found: [Evaluation] = []
    for rows in job.validations {
      guard let evaluation = try engine.evaluateUnlessStopped(rows.rows, batchSize: job.evalBatchSize) else {
        try stop(evaluated: false)
        return false
      }
      found.append(evaluation)
    }
    lastFound = found.first
    evaluations.append(try meter.record(found, step: engine.steps, epoch: epoch))
    if checkpointing.isDue(afterEvaluationAt: engine.steps) { try saveCheckpoint() }
    return true
  }

  /// Finds what the report shows of the last evaluation, where that was before the checkpoint that the run went on from;
  /// false where the run ends in the middle of it.
  private mutating func evaluateForReport() throws(Failure) -> Bool {
    guard command.outputDir != nil else { return true }
    lastFound = try engine.evaluateUnlessStopped(job.validations[0].rows, batchSize: job.evalBatchSize)
    if lastFound == nil { try stop(evaluated: true) }
    return lastFound != nil
  }

  // MARK: The end

  /// Evaluates the test rows, saves the model with its report, and summarises. A stop is heard before the model is saved.
  ///
  /// - Parameter begin: of the whole run.
  func finish(begin: ContinuousClock.Instant) throws(Failure) {
    try checkpointing.finish()
    try engine.checkLockstepUnlessDone()
    guard try finishTest(job, command, engine, meter) else { return try stop(evaluated: true) }
    let times = try TimeReport(engine)
    let folder = try save(times)
    communicator.noteResult(digest: engine.model.parameters.digest)
    if let path = command.profile { try engine.timeline?.write(to: path) }
    try summarize(
      evaluations, job, meter, times, skippedSteps: engine.skippedSteps, seconds: (ContinuousClock.now - begin).seconds,
      savedTo: folder.map { saved in saved == output?.path ? command.outputDir ?? saved : saved }, reporter)
    if let path = command.profile, let timeline = engine.timeline {
      let missing = timeline.stepsLeftOut
      try reporter.line(
        "timeline in \(path)" + (missing > 0 ? ", without the last \(grouped(missing)) steps: no room" : ""))
    }
  }

  /// - Returns: the folder that the model is in, on rank 0.
  private func save(_ times: TimeReport) throws(Failure) -> String? {
    try communicator.agree { () throws(Failure) in
      try output.map { (output) throws(Failure) in
        var run = RunRecord(job, command, communicator, times)
        (run.steps, run.evaluations) = (meter.steps, evaluations)
        if let lastFound { run.take(lastFound.rows, texts: job.validations[0].texts) }
        return try job.folder.save(
          engine.model, to: output, labelNames: job.labelNames, problem: job.labels.problem,
          further: reportFiles(run, job, command))
      }
    }
  }
}
