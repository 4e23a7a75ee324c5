import Collectives
import Glibc
import Kernels
import System
import Training

/// What `Accelerator.prepare` takes: models, optimizers and loaders.
public protocol Preparable: AnyObject {}

/// One rank of a job, under the names of Hugging Face's Accelerate. `run` makes it.
///
/// Its collectives are called by all ranks in the same order.
public final class Accelerator {
  let communicator: any Communicator
  /// Batches of an accumulation window: the optimizer steps after so many, and at the end of an epoch.
  public let gradientAccumulationSteps: Int
  /// Whether the batch size of a loader is that of all ranks together.
  public let splitBatches: Bool
  let precision: ProductPrecision
  let wire: WirePrecision
  let lockstepCheck: Int
  let settings: RankSettings
  /// The batch that a prepared loader gave out last.
  weak var currentBatch: Batch?
  private(set) var models: [BertForSequenceClassification] = []
  /// What is saved with the state, beside the model.
  var registered: [any CheckpointedState] = []
  private var isTriggered = false
  /// Whether the user wants the job to stop: after `acceptStop`, the same on every rank, set by `optimizer.step`.
  public internal(set) var shouldStop = false

  init(_ communicator: any Communicator, _ options: RunOptions) throws(Failure) {
    guard options.gradientAccumulationSteps >= 1 else {
      throw Failure(
        .usage, "gradient accumulation over \(options.gradientAccumulationSteps) steps, expected at least 1")
    }
    guard options.lockstepCheck >= 0 else {
      throw Failure(.usage, "a lockstep check every \(options.lockstepCheck) steps, expected 0 or more")
    }
    self.communicator = communicator
    lockstepCheck = options.lockstepCheck
    gradientAccumulationSteps = options.gradientAccumulationSteps
    splitBatches = options.splitBatches
    precision = try options.precision()
    wire = options.wirePrecision
    settings = options.settings
  }

  // MARK: Who this is

  /// Ranks of the job.
  public var numProcesses: Int { communicator.size }
  /// This rank, from 0.
  public var processIndex: Int { communicator.rank }
  /// This rank's place among those on its host, from 0.
  public var localProcessIndex: Int { communicator.localRank }
  /// Whether this is rank 0.
  public var isMainProcess: Bool { communicator.isMain }
  /// Whether this is the first rank on its host.
  public var isLocalMainProcess: Bool { communicator.localRank == 0 }
  /// Whether this is the last rank.
  public var isLastProcess: Bool { communicator.rank == communicator.size - 1 }

  // MARK: Training

  /// Makes models, optimizers and loaders work on all ranks together: every rank gets the same weights, and its share of
  /// each loader's rows. Called by all ranks, before anything was computed. Preparing twice changes nothing.
  ///
  /// - Returns: the same objects, in their order.
  @discardableResult
  public func prepare<each Object: Preparable>(_ objects: repeat each Object) throws(Failure) -> (repeat each Object) {
    var all: [any Preparable] = []
    repeat all.append(each objects)
    for case let loader as DataLoader in all { try loader.prepare(for: self) }
    for object in all {
      guard let model = object as? BertForSequenceClassification ?? (object as? AdamW)?.model,
        !models.contains(where: { $0 === model })
      else { continue }
      // On all ranks, before memory is taken.
      try communicator.agree { () throws(Failure) in
        for case let loader as DataLoader in all {
          try loader.dataset.check(against: model.configuration, withLabels: false, name: "accelerator.prepare")
        }
      }
      try model.prepare(for: self)
      models.append(model)
    }
    return (repeat each objects)
  }

  /// Adds the gradients of a loss to those of the window. Their sum over the ranks begins with the last batch of a window,
  /// while backward goes on.
  public func backward(_ loss: Loss) throws(Failure) {
    guard loss.output.model.session?.accelerator === self else {
      throw misuse("accelerator.backward", "the model was not passed to prepare")
    }
    try loss.backward()
  }

  /// Whether the optimizer steps after the last backward: false within an accumulation window.
  public var syncGradients: Bool { models.allSatisfy(\.window.isComplete) }

  /// A batch of an accumulation window. Windows are those of the loaders, so this only marks the place: within one,
  /// `optimizer.step`, `schedule.step` and `optimizer.zeroGrad` do nothing.
  public func accumulate<Result>(
    _ model: BertForSequenceClassification, _ body: () throws -> Result
  ) throws -> Result {
    guard model.session?.accelerator === self else {
      throw misuse("accelerator.accumulate", "the model was not passed to prepare")
    }
    return try body()
  }

  /// Runs `body`, whose backwards leave the sum over the ranks to the next backward outside, or to the optimizer's step.
  public func noSync<Result>(_ model: BertForSequenceClassification, _ body: () throws -> Result) throws -> Result {
    guard let session = model.session, session.accelerator === self else {
      throw misuse("accelerator.noSync", "the model was not passed to prepare")
    }
    let before = session.holdsSync
    session.holdsSync = true
    defer { session.holdsSync = before }
    return try body()
  }

  /// Scales the gradients of the window down to the norm `maxNorm` where theirs is larger, as torch's `clip_grad_norm_`.
  /// Call it between backward and step. Called by all ranks.
  ///
  /// - Returns: the norm before, the same on every rank; nil within an accumulation window, where it does nothing.
  @discardableResult
  public func clipGradNorm(_ model: BertForSequenceClassification, maxNorm: Double) throws(Failure) -> Double? {
    guard maxNorm > 0, maxNorm.isFinite else {
      throw misuse("accelerator.clipGradNorm", "a norm of \(maxNorm), expected more than 0")
    }
    guard let session = model.session, session.accelerator === self else {
      throw misuse("accelerator.clipGradNorm", "the model was not passed to prepare")
    }
    guard try model.window.mayStep("accelerator.clipGradNorm") else { return nil }
    return try session.engine?.clipGradientNorm(maxNorm)
  }

  /// Promises that the program looks at `shouldStop` after each step and then ends by itself. Without it Ctrl-C and
  /// SIGTERM end the job at once, as they end any program.
  public func acceptStop() { communicator.acceptStop() }

  /// An epoch's loader without its first batches: for an epoch that was begun earlier.
  public func skipFirstBatches(_ loader: DataLoader, _ count: Int) throws(Failure) -> DataLoader {
    try loader.skippingFirst(count)
  }

  // MARK: Early stopping

  /// Asks all ranks for something, such as stopping: `checkTrigger` tells them.
  public func setTrigger() { isTriggered = true }

  /// Whether any rank has called `setTrigger` since the last time. Called by all ranks; the same on every rank.
  public func checkTrigger(file: StaticString = #fileID, line: UInt32 = #line) throws(Failure) -> Bool {
    let count = try communicator.sum(isTriggered ? 1 : 0, file: file, line: line)
    isTriggered = false
    return count > 0
  }

  // MARK: Main process

  /// Prints on the main process, at once.
  public func print(_ items: Any..., separator: String = " ", terminator: String = "\n") {
    guard isMainProcess else { return }
    Swift.print(items.map { "\($0)" }.joined(separator: separator), terminator: terminator)
    fflush(nil)
  }

  /// Saves a model on the main process; see `BertForSequenceClassification.save`. Called by all ranks, which all throw
  /// where it fails, or where they do not hold the same weights.
  public func save(
    _ model: BertForSequenceClassification, to path: String, labelNames: [String] = [], overwrites: Bool = false
  ) throws(Failure) {
    if model.session?.accelerator === self { try model.session?.engine?.checkLockstepUnlessDone() }
    try communicator.agree { () throws(Failure) in
      if isMainProcess { try model.save(to: path, labelNames: labelNames, overwrites: overwrites) }
    }
  }

  /// Lets go of prepared models.
  func forget() { models = [] }

  /// Tells the launcher a digest of the weights, which all ranks must hold alike at the end.
  func noteResult() {
    let digests = models.compactMap { $0.session?.weights.parameters.digest }
    guard let first = digests.first else { return }
    communicator.noteResult(
      digest: digests.dropFirst().reduce(first) { digest, next in
        var hash = FNV1a(digest)
        hash.add(next)
        return hash.value
      })
  }
}
