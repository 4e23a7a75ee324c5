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
  /// What other tools read.
  var logs: RunLogs?
  private var checkpoint: Checkpoint?
  /// What a user should know.
  var notes: [String] = []

  /// Of a rank that writes nothing.
  init() {}

  /// - Parameters:
  ///   - start: the digest of the weights that training begins with.
  ///   - ranks: of the job.
  ///   - host: the name of rank 0's host, for the logs.
  init(_ job: Job, _ command: FinetuneCommand, start: UInt64, ranks: Int, host: String) throws(Failure) {
    try command.checkReports()
    let options = command.checkpoints
    folder = try command.outputDir.map { (path) throws(Failure) in
      try ModelFolder.output(path, overwrites: command.overwriteOutputDir, home: job.settings.home)
    }
    let store = folder.map { CheckpointStore("\($0.path)/\(ModelFolder.checkpointsName)") }
    self.store = store
    var notes: [String] = []
    if let store {
      checkpoint = try store.resumePoint(
        options.source(isRestart: job.settings.isRestart), orElse: options.resume, isFresh: command.overwriteOutputDir
      ) { notes.append($0) }
    } else if let source = options.resume {
      checkpoint = try CheckpointStore(source).resumePoint(source, isFresh: false) { notes.append($0) }
    }
    if let checkpoint {
      let manifest = checkpoint.manifest
      try job.check(
        checkpoint, options: job.resultOptions(command, ranks: ranks), digests: job.digests(start: start))
      notes.append("continues after step \(manifest.step) of \(job.schedule.totalSteps), from \(checkpoint.path)")
      if manifest.ranks != ranks {
        notes.append(
          "saved with \(manifest.ranks) ranks, continues with \(ranks): the same rows in the same order, "
            + (command.reduction == .invariant ? "the same bits" : "numbers within 1e-5")
        )
      }
    }
    metrics = try command.metrics.map { (path) throws(Failure) in
      guard let manifest = checkpoint?.manifest else { return try MetricsFile(path, option: "--metrics") }
      return try MetricsFile(
        path, option: "--metrics", continuingAfter: manifest.step, evaluated: manifest.isEvaluated)
    }
    logs = try command.loggingDir.map { (folder) throws(Failure) in
      try RunLogs(command.logs(), folder: folder, option: "--logging-dir", host: host)
    }
    self.notes = notes
  }

  /// Tells all ranks where the run begins. Called by all ranks, on rank 0 with what it has found.
  func sharePoint(_ communicator: any Communicator) throws(Failure) -> ResumePoint? {
    let texts = try communicator.allGather(checkpoint?.manifest.bytes ?? [])
    guard let text = texts.first, !text.isEmpty else { return nil }
    return ResumePoint(manifest: try CheckpointManifest(text, path: "the checkpoint"), checkpoint: checkpoint)
  }
}
