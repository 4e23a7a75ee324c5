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
  /// Finds what to go on from, for rank 0. Nothing is changed.
  ///
  /// - Parameters:
  ///   - source: a checkpoint's folder, `latest`, or nil for the beginning.
  ///   - fallback: what to go on from instead where there is no newest checkpoint.
  ///   - isFresh: whether checkpoints that are here, and do not belong to the run, will be removed.
  ///   - mayMix: whether a folder that is none of the checkpoints here may be gone on from beside them: where they are the
  ///     run's own, or nothing is saved.
  ///   - note: told what a user should know.
  /// - Throws: `.missingInput` or `.badData` where a given folder is no good checkpoint; `.cannotCreate` where a run would
  ///   go on beside the checkpoints of another.
  func resumePoint(
    _ source: String?, orElse fallback: String? = nil, isFresh: Bool, mayMix: Bool, note: (String) -> Void
  ) throws(Failure) -> Checkpoint? {
    switch source {
    case nil:
      if !isFresh, let newest = try readEntries().last { throw refusal(newest) }
      return nil
    case CheckpointOptions.latest?:
      let found = try latest { (failure) throws(Failure) in
        note("a checkpoint that is not good is left out: \(failure)")
      }
      if found == nil, let fallback, fallback != source {
        return try resumePoint(fallback, isFresh: isFresh, mayMix: true, note: note)
      }
      if found == nil { note("there is no complete checkpoint in \(path), so the run begins at the beginning") }
      return found
    case let folder?:
      let checkpoint = try Checkpoint(folder)
      if !isFresh, !mayMix, !isInside(folder, path), let newest = try readEntries().last {
        throw refusal(newest, besides: folder)
      }
      try checkpoint.verify()
      return checkpoint
    }
  }

  /// - Parameter other: a checkpoint elsewhere that the run would go on from.
  private func refusal(_ newest: Entry, besides other: String? = nil) -> Failure {
    Failure(
      .cannotCreate, at: path,
      "holds checkpoints of another run, the newest is \(newest.name)"
        + (other.map { ", and \($0) is none of them" } ?? ""),
      hint:
        "--resume-from-checkpoint latest continues from it, --overwrite-output-dir removes them, or name another --output-dir"
    )
  }
}

/// What a checkpoint and a run do not have alike. A value is nil where one of them has none.
private struct Difference {
  private let name: String
  private let saved: String?
  private let present: String?

  /// What is left out where it is the standard.
  private static let standard = ["--reduction": ReductionMode.fast.rawValue]
  private static let other = "or begin anew in another --output-dir"

  /// The first one; nil where all is alike.
  init?(_ saved: [CheckpointManifest.Item], _ present: [CheckpointManifest.Item]) {
    func value(_ name: String, _ items: [CheckpointManifest.Item]) -> String? {
      items.first { $0.name.utf8.elementsEqual(name.utf8) }?.value ?? Self.standard[name]
    }
    let names = present.map(\.name) + saved.map(\.name)
    guard let name = names.first(where: { value($0, saved) != value($0, present) }) else { return nil }
    self.name = name
    self.saved = value(name, saved)
    self.present = value(name, present)
  }

  /// The name without what stands behind it in brackets.
  private var bareName: String {
    var bare = String(name.prefix { $0 != "(" })
    while bare.hasSuffix(" ") { bare.removeLast() }
    return bare
  }

  /// As a difference of options, in words for the checkpoint at `path`.
  func ofOptions(at path: String) -> Failure {
    let (option, absent) = (bareName, ["no", "none"])
    let counted = name.firstIndex(of: "(").map { " \(name[$0...])" } ?? ""
    let isFlag = saved == "yes" || present == "yes"
    let old = saved.flatMap { $0 == "none" || isFlag && absent.contains($0) ? nil : $0 }
    let new = present.flatMap { $0 == "none" || isFlag && absent.contains($0) ? nil : $0 }
    let message =
      switch (old, new) {
      case (let old?, let new?): "was saved with \(option) \(old)\(counted), this run has \(new)"
      case (let old?, nil): "was saved with \(option)\(isFlag ? "" : " \(old)"), this run is without"
      case (nil, let new?): "was saved without \(option), this run has \(isFlag ? "it" : new)"
      case (nil, nil): "was saved with another \(option)"
      }
    return Failure(
      .badData, at: path, message,
      hint: (old == nil ? "leave \(option) out, " : isFlag ? "give \(option), " : "give the same \(option), ")
        + Self.other)
  }

  /// As a difference of what is read. Its values are digests, which tell nobody anything.
  func ofInputs(at path: String) -> Failure {
    let what = bareName
    let message =
      switch (saved, present) {
      case (nil, _): "was saved by a run without \(what), this one has them"
      case (_, nil): "was saved by a run with \(what), this one has none"
      default: "was saved with \(isOne ? "another" : "other") \(what) than this run has"
      }
    return Failure(.badData, at: path, message, hint: "\(deciders): give the same, \(Self.other)")
  }

  private var isOne: Bool { ["config.json", "vocabulary"].contains(bareName) }

  /// Which options decide what is read.
  private var deciders: String {
    switch bareName {
    case "config.json", "vocabulary": "--model decides it"
    case "start weights": "--model and --init decide them"
    case "training rows": "--data, --task, --train-file, its columns and --max-length decide them"
    case "test rows": "--test-file, its columns and --max-length decide them"
    default: "--data, --task, --validation-file, its columns and --max-length decide them"
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
    if let difference = Difference(saved.options, options) { throw difference.ofOptions(at: checkpoint.path) }
    if let difference = Difference(saved.fingerprints, digests) { throw difference.ofInputs(at: checkpoint.path) }
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
