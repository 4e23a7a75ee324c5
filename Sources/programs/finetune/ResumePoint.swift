import Checkpoints
import Collectives
import System
import Training

/// Where a run begins: at the beginning, or where a checkpoint was saved.
struct ResumePoint {
  /// What the checkpoint says, on every rank.
  var manifest: CheckpointManifest
  /// On rank 0.
  var checkpoint: Checkpoint?
}

extension CheckpointStore {
  /// Finds what to go on from, for rank 0.
  ///
  /// - Parameters:
  ///   - source: a checkpoint's folder, `latest`, or nil for the beginning.
  ///   - fallback: what to go on from instead where there is no newest checkpoint.
  ///   - isFresh: whether all checkpoints that are here may go where the run begins at the beginning.
  ///   - note: told what a user should know.
  /// - Throws: `.missingInput` or `.badData` where a given folder is no good checkpoint; `.cannotCreate` where a run would
  ///   begin beside the checkpoints of another.
  func resumePoint(
    _ source: String?, orElse fallback: String? = nil, isFresh: Bool, note: (String) -> Void
  ) throws(Failure) -> Checkpoint? {
    removeRemains()
    switch source {
    case nil:
      if isFresh {
        try removeAll()
      } else if let newest = entries.last {
        throw Failure(
          .cannotCreate, at: path, "holds checkpoints of another run, the newest is \(newest.name)",
          hint:
            "--resume-from-checkpoint latest continues from it, --overwrite-output-dir removes them, or name another --output-dir"
        )
      }
      return nil
    case CheckpointOptions.latest?:
      let found = try latest { (failure) throws(Failure) in
        note("a checkpoint that is not good is left out: \(failure)")
      }
      if found == nil, let fallback, fallback != source {
        return try resumePoint(fallback, isFresh: false, note: note)
      }
      if found == nil { note("there is no complete checkpoint in \(path), so the run begins at the beginning") }
      return found
    case let folder?:
      let checkpoint = try Checkpoint(folder)
      try checkpoint.verify()
      return checkpoint
    }
  }
}

extension Job {
  /// What decides the results and has to be the same where a run goes on, with the options that say so.
  func resultOptions(_ command: FinetuneCommand, ranks: Int) -> [CheckpointManifest.Item] {
    let accumulation = loader.accumulationSteps
    return [
      .init("--task", "\(labels.problem.rawValue) \(labelNames.joined(separator: ", "))"), .init("--seed", "\(seed)"),
      .init("--no-shuffle", loader.order == .file ? "yes" : "no"),
      .init("--batch-size (rows of all ranks together)", "\(loader.plan.globalBatchSize)"),
      // The other ways depend on how many there are.
      .init("--uneven", command.uneven == .exact ? "exact" : "\(command.uneven.rawValue) on \(ranks) ranks"),
      .init("--gradient-accumulation-steps", "\(accumulation)"),
      .init("--epochs or --max-steps (steps in all)", "\(schedule.totalSteps)"),
      .init("--learning-rate", "\(schedule.peakRate)"), .init("--lr-scheduler-type", schedule.kind.rawValue),
      .init("--warmup-steps", "\(schedule.warmupSteps)"), .init("--weight-decay", "\(optimizer.weightDecay)"),
      .init("--no-decay-bias-norm", optimizer.sparesBiasAndNorm ? "yes" : "no"),
      .init("--max-grad-norm", (command.maxGradNorm ?? recipe.maxGradNorm).map { "\($0)" } ?? "none"),
      .init("--dropout", "\(configuration.hiddenDropout), \(configuration.attentionDropout)"),
      .init("--mixed-precision or --float32-matmul-precision", precision.rawValue),
      .init("--ddp-comm-hook", command.wire.ddpCommHook.rawValue),
      // Checkpoints of the standard way need not say so.
    ] + (command.reduction == .fast ? [] : [.init("--reduction", command.reduction.rawValue)])
  }

  /// Digests of all that the run reads.
  ///
  /// - Parameter start: of the weights that training begins with.
  func digests(start: UInt64) -> [CheckpointManifest.Item] {
    (fingerprints + [("start weights (--model, --init)", start)]).map { .init($0.name, String($0.value, radix: 16)) }
  }

  /// Refuses to go on from a checkpoint of another run.
  func check(
    _ checkpoint: Checkpoint, options: [CheckpointManifest.Item], digests: [CheckpointManifest.Item]
  ) throws(Failure) {
    let saved = checkpoint.manifest
    func compare(
      _ saved: [CheckpointManifest.Item], _ present: [CheckpointManifest.Item], _ hint: (String) -> String
    ) throws(Failure) {
      for item in present {
        let old = saved.first { $0.name.utf8.elementsEqual(item.name.utf8) }?.value
        guard old != item.value else { continue }
        throw Failure(
          .badData, at: checkpoint.path,
          "was saved by a run with other \(item.name): \(old ?? "none"), expected \(item.value)", hint: hint(item.name))
      }
      if let item = saved.first(where: { item in !present.contains { $0.name == item.name } }) {
        throw Failure(
          .badData, at: checkpoint.path, "was saved by a run with \(item.name): \(item.value), expected none",
          hint: hint(item.name))
      }
    }
    try compare(saved.options, options) { "give the same \($0), or begin anew in another --output-dir" }
    try compare(saved.fingerprints, digests) { _ in
      "give the files that it was saved with, or begin anew in another --output-dir"
    }
    guard (1...schedule.totalSteps).contains(saved.step), saved.windowPosition == 0 else {
      throw Failure(
        .badData, at: checkpoint.path,
        "is of step \(saved.step) and window position \(saved.windowPosition), expected 1 to \(schedule.totalSteps) and 0"
      )
    }
  }

  /// The rows that the first `step` steps of their epoch have used, over all ranks.
  func rowsUsed(stepsOfEpoch step: Int) -> Int {
    (0..<min(step * loader.accumulationSteps, loader.plan.steps)).reduce(0) { $0 + loader.plan.rowCount(step: $1) }
  }
}
