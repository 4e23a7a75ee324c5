import Checkpoints
import Collectives
import Reporting
import RunReport
import System
import Training

/// What a run writes to, opened on rank 0 when nothing else can be wrong; and where it begins, which decides what is kept.
struct Outputs {
  var folder: OutputFolder?
  var store: CheckpointStore?
  var metrics: MetricsFile?
  var digests: StepDigests?
  var rows: DebugRows?
  /// What other tools read.
  var logs: RunLogs?
  private var checkpoint: Checkpoint?
  /// What a user should know.
  var notes: [String] = []

  /// Of a rank that writes nothing.
  init() {}

  /// Finds where the run begins, refuses what does not belong together, and opens what is written. With `--debug-batch`
  /// nothing is opened or changed.
  ///
  /// - Parameters:
  ///   - start: the digest of the weights that training begins with.
  ///   - ranks: of the job.
  ///   - host: the name of rank 0's host, for the logs.
  init(_ job: Job, _ command: FinetuneCommand, start: UInt64, ranks: Int, host: String) throws(Failure) {
    if let step = command.debugBatch {
      try findPoint(ofReader: command.checkpoints, outputDir: command.outputDir)
      try check(job, command, start: start, ranks: ranks)
      try DebugBatch.check(step, after: firstStep, total: job.schedule.totalSteps)
      return
    }
    try command.checkReports()
    folder = try command.outputDir.map { (path) throws(Failure) in
      try ModelFolder.output(path, overwrites: command.overwriteOutputDir, home: job.settings.home)
    }
    store = folder.map { CheckpointStore("\($0.path)/\(ModelFolder.checkpointsName)") }
    let source = command.checkpoints.source(isRestart: job.settings.isRestart)
    try findPoint(source, job, command)
    try check(job, command, start: start, ranks: ranks)
    try open(command)
    logs = try command.loggingDir.map { (folder) throws(Failure) in
      try RunLogs(command.logs(), folder: folder, option: "--logging-dir", host: host)
    }
    // Last, when nothing is refused any more. What the run goes on from stays.
    if command.overwriteOutputDir, let store {
      let isOwn = checkpoint.map { isInside($0.path, store.path) } ?? (source == CheckpointOptions.latest)
      if !isOwn { try store.removeAll() }
    }
  }

  /// The step that the run goes on after; 0 at the beginning.
  private var firstStep: Int { checkpoint?.manifest.step ?? 0 }

  /// Finds where a run begins that writes, whose store is known.
  private mutating func findPoint(_ source: String?, _ job: Job, _ command: FinetuneCommand) throws(Failure) {
    var found: [String] = []
    if let store {
      store.removeRemains()
      checkpoint = try store.resumePoint(
        source, orElse: command.checkpoints.resume, isFresh: command.overwriteOutputDir,
        mayMix: job.settings.isRestart
      ) { found.append($0) }
    } else if let source = command.checkpoints.resume {
      checkpoint = try CheckpointStore(source).resumePoint(source, isFresh: false, mayMix: true) { found.append($0) }
    }
    notes += found
  }

  /// Finds where a run begins that only reads.
  private mutating func findPoint(ofReader options: CheckpointOptions, outputDir: String?) throws(Failure) {
    guard let source = options.resume else { return }
    let store = CheckpointStore("\(outputDir ?? source)/\(ModelFolder.checkpointsName)")
    var found: [String] = []
    checkpoint = try store.resumePoint(source, isFresh: false, mayMix: true) { found.append($0) }
    notes += found
  }

  /// Refuses a checkpoint of another run, and says where this one goes on.
  private mutating func check(
    _ job: Job, _ command: FinetuneCommand, start: UInt64, ranks: Int
  ) throws(Failure) {
    guard let checkpoint else { return }
    let manifest = checkpoint.manifest
    try job.check(checkpoint, options: job.resultOptions(command, ranks: ranks), digests: job.digests(start: start))
    notes.append("continues after step \(manifest.step) of \(job.schedule.totalSteps), from \(checkpoint.path)")
    guard manifest.ranks != ranks else { return }
    notes.append(
      "saved with \(counted(manifest.ranks, "rank")), continues with \(ranks): the same rows in the same order, "
        + (command.reduction == .invariant ? "the same bits" : "numbers within 1e-5"))
  }

  /// Opens the files with a line or more a step: at the beginning they are emptied, else cut to the steps that are behind.
  private mutating func open(_ command: FinetuneCommand) throws(Failure) {
    let step = firstStep
    // Each is looked at before any is changed.
    let digestsPlace = try command.stepDigests.map { (path) throws(Failure) in
      try StepDigests.place(in: path, continuingAfter: step)
    }
    let rowsPlace = try command.debugRows.map { (path) throws(Failure) in
      try DebugRows.place(in: path, continuingAfter: step)
    }
    let manifest = checkpoint?.manifest
    metrics = try command.metrics.map { (path) throws(Failure) in
      guard let manifest else { return try MetricsFile(path, option: "--metrics") }
      return try MetricsFile(
        path, option: "--metrics", continuingAfter: manifest.step, evaluated: manifest.isEvaluated)
    }
    if let path = command.stepDigests, let digestsPlace { digests = try StepDigests(path, at: digestsPlace) }
    if let path = command.debugRows, let rowsPlace { rows = try DebugRows(path, at: rowsPlace) }
    let files: [(path: String?, isLate: Bool?)] = [
      (command.metrics, metrics?.isLate), (command.stepDigests, digestsPlace?.isLate),
      (command.debugRows, rowsPlace?.isLate),
    ]
    for file in files {
      guard let path = file.path, file.isLate == true else { continue }
      notes.append("\(path) begins after step \(step): the steps before are not in it")
    }
  }

  /// Tells all ranks where the run begins. Called by all ranks, on rank 0 with what it has found.
  func sharePoint(_ communicator: any Communicator) throws(Failure) -> ResumePoint? {
    let texts = try communicator.allGather(checkpoint?.manifest.bytes ?? [])
    guard let text = texts.first, !text.isEmpty else { return nil }
    return ResumePoint(manifest: try CheckpointManifest(text, path: "the checkpoint"), checkpoint: checkpoint)
  }
}
