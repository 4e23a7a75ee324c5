import Checkpoints
import Collectives
import Reporting
import System
import Training

/// Saves a run's checkpoints, and knows where it began.
final class Checkpointing {
  let job: Job
  private let interval: CheckpointInterval?
  private let limit: Int?
  private let onFailedSave: FailedSave
  private let reporter: Reporter
  private let options: [CheckpointManifest.Item]
  private let digests: [CheckpointManifest.Item]
  /// On rank 0, where the run has an output folder.
  private let store: CheckpointStore?
  private let engine: TrainingEngine
  private let metrics: MetricsFile?
  /// How checkpoints that fall due are written; the same on every rank.
  private enum Writing {
    case beside(CheckpointWriter)
    /// While all ranks wait: none falls due, or there is no memory for a copy.
    case waiting
  }
  private var writing = Writing.waiting
  /// Whether the run saves into an output folder.
  let isOn: Bool
  /// Steps and evaluation of the checkpoint that the run went on from; 0 at the beginning.
  let firstStep: Int
  private let isEvaluated: Bool
  /// Evaluations of the run before that.
  let earlier: [EvaluationRecord]

  /// - Parameter point: where the run begins; nil at the beginning.
  init(
    _ job: Job, _ command: FinetuneCommand, _ engine: TrainingEngine, store: CheckpointStore?, _ metrics: MetricsFile?,
    _ reporter: Reporter, from point: ResumePoint?, options: [CheckpointManifest.Item],
    digests: [CheckpointManifest.Item]
  ) {
    self.job = job
    self.engine = engine
    self.store = store
    self.metrics = metrics
    self.options = options
    self.digests = digests
    // A batch that is looked at leaves all as it is.
    interval = command.debugBatch == nil ? command.checkpoints.interval : nil
    limit = command.checkpoints.limit
    onFailedSave = command.checkpoints.onFailedSave
    self.reporter = reporter
    isOn = command.outputDir != nil && command.debugBatch == nil
    firstStep = point?.manifest.step ?? 0
    isEvaluated = point?.manifest.isEvaluated ?? true
    earlier = (point?.manifest.evaluations ?? []).map { evaluation in
      EvaluationRecord(
        epoch: evaluation.epoch, step: evaluation.step, loss: evaluation.loss ?? .nan, examples: evaluation.examples,
        values: evaluation.figures.map { MetricValue($0.name, $0.value ?? .nan) })
    }
  }

  /// The epoch that the run begins with, and the steps of it that are done. Where its evaluation is still to come, all are.
  var start: (epoch: Int, steps: Int) {
    let perEpoch = job.loader.stepsPerEpoch
    if firstStep == job.schedule.totalSteps && isEvaluated { return (job.epochs, 0) }
    let epoch = isEvaluated ? firstStep / perEpoch : max(0, firstStep - 1) / perEpoch
    return (epoch, firstStep - epoch * perEpoch)
  }

  /// Whether a checkpoint is due after a step that no evaluation follows.
  func isDue(afterStep step: Int) -> Bool {
    guard case .steps(let steps) = interval, !endsEpoch(step) else { return false }
    return step % steps == 0
  }

  /// Whether one is due after the evaluation at a step.
  func isDue(afterEvaluationAt step: Int) -> Bool {
    switch interval {
    case nil: false
    case .epoch: true
    case .steps(let steps): step % steps == 0
    }
  }

  private func endsEpoch(_ step: Int) -> Bool {
    step == job.schedule.totalSteps || step % job.loader.stepsPerEpoch == 0
  }

  /// Takes the memory for checkpoints that fall due, if any do, so that no step waits for it. Called by all ranks, before the
  /// first step.
  func prepare() throws(Failure) {
    if interval != nil { writing = try decide() }
  }

  /// Saves where the run stands, while training goes on where there is memory for a copy. Called by all ranks.
  ///
  /// - Parameter evaluated: whether the evaluation that follows the step is done; true where none does.
  func saveBeside(_ evaluations: [EvaluationRecord], evaluated: Bool) throws(Failure) {
    try finish()
    try unlessItFails { () throws(Failure) in
      guard case .beside(let writer) = writing else {
        _ = try save(evaluations, evaluated: evaluated)
        return
      }
      try engine.communicator.agree { () throws(Failure) in try metrics?.flush() }
      try writer.begin(engine, manifest(evaluations, evaluated: evaluated), savedModel())
    }
  }

  /// Waits until the last checkpoint is written. Called by all ranks.
  func finish() throws(Failure) {
    guard case .beside(let writer) = writing else { return }
    try unlessItFails { () throws(Failure) in try writer.finish(engine.communicator) }
  }

  /// Saves, or says that it cannot be done where the run is to go on. On all ranks alike: they fail together.
  private func unlessItFails(_ save: () throws(Failure) -> Void) throws(Failure) {
    do throws(Failure) { try save() } catch {
      guard [.ioError, .cannotCreate].contains(error.status) else { throw error }
      guard onFailedSave == .goOn else {
        var failure = error
        failure.hint = failure.hint ?? "\(Self.wayOut), or give --on-failed-save continue"
        throw failure
      }
      try reporter.line("warning: a checkpoint is not saved, and training goes on: \(error)")
    }
  }

  private static let wayOut = "make room and continue with --resume-from-checkpoint latest"

  private func decide() throws(Failure) -> Writing {
    let lack = engine.communicator.isMain ? engine.stateCopyNeed.lack : nil
    let texts = try engine.communicator.allGather(Array((lack ?? "").utf8))
    if texts[0].isEmpty, let writer = try CheckpointWriter(engine, to: store, keeping: limit) { return .beside(writer) }
    let reason = texts[0].isEmpty ? "finds no shared memory" : String(decoding: texts[0], as: UTF8.self)
    try reporter.line("note: training waits while a checkpoint is written: a copy of its state \(reason)")
    return .waiting
  }

  /// Saves where the run stands, and returns when that is done. Called by all ranks.
  ///
  /// - Returns: the checkpoint's folder.
  func save(_ evaluations: [EvaluationRecord], evaluated: Bool) throws(Failure) -> String {
    try finish()
    return try engine.save(
      manifest(evaluations, evaluated: evaluated), to: store, keeping: limit
    ) { (folder) throws(Failure) in
      try metrics?.flush()
      try savedModel().write(UnsafeBufferPointer(engine.model.parameters.buffer), into: folder)
    }
  }

  /// The same for a run that ends then: where it cannot be saved, the failure says how to go on.
  func saveAtStop(_ evaluations: [EvaluationRecord], evaluated: Bool) throws(Failure) -> String {
    do throws(Failure) { return try save(evaluations, evaluated: evaluated) } catch {
      guard [.ioError, .cannotCreate].contains(error.status) else { throw error }
      var failure = error
      failure.hint = failure.hint ?? Self.wayOut
      throw failure
    }
  }

  private func savedModel() throws(Failure) -> SavedModel {
    try job.folder.saved(engine.model, labelNames: job.labelNames, problem: job.labels.problem)
  }

  private func manifest(_ evaluations: [EvaluationRecord], evaluated: Bool) -> CheckpointManifest {
    let step = engine.steps
    let perEpoch = job.loader.stepsPerEpoch
    var manifest = CheckpointManifest(step: step)
    manifest.epoch = step / perEpoch
    manifest.rows = job.rowsUsed(stepsOfEpoch: step % perEpoch)
    manifest.isEvaluated = evaluated || !endsEpoch(step)
    manifest.seed = job.seed
    manifest.ranks = engine.communicator.size
    manifest.options = options
    manifest.fingerprints = digests
    manifest.versions = [.init("checkpoint", "1"), .init("BLAS", Hardware.blas)]
    manifest.evaluations = evaluations.map { evaluation in
      .init(
        step: evaluation.step, epoch: evaluation.epoch, examples: evaluation.examples, loss: evaluation.loss,
        figures: evaluation.values.map { .init($0.name, $0.value.isFinite ? $0.value : nil) })
    }
    return manifest
  }
}
