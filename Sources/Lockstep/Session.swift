import BERT
import Collectives
import Kernels
import System
import Training

/// A model's weights on this rank, and what computes with them.
final class Session {
  let communicator: any Communicator
  /// Nil where the program runs by hand, as one process.
  let accelerator: Accelerator?
  private(set) var weights: Weights
  /// The weights of all ranks, while this rank trains its own.
  private var sharedWeights: Weights?
  var isLocal: Bool { sharedWeights != nil }
  private(set) var engine: Engine?
  private var evaluator: Evaluator
  let settings: RankSettings
  private let threads: ThreadPool
  /// Whether backward leaves the sums over the ranks to the next one.
  var holdsSync = false

  init(
    _ communicator: any Communicator, accelerator: Accelerator?, _ weights: Weights, _ settings: RankSettings
  ) {
    self.settings = settings
    threads = ThreadPool(count: settings.threads)
    self.communicator = communicator
    self.accelerator = accelerator
    self.weights = weights
    evaluator = Evaluator(
      weights, settings.gemm(accelerator?.precision ?? .high, isForEvaluation: true, threads: threads))
  }

  /// What trains the weights, made at first use. Called by all ranks.
  func engine(for model: BertForSequenceClassification, _ limits: BatchLimits) throws(Failure) -> Engine {
    if let engine { return engine }
    guard let optimizer = model.optimizer else { throw misuse("model(batch)", "no optimizer was made for the model") }
    // Alone with its rows, but heard by the launcher.
    let ranks: any Communicator = isLocal ? SoloCommunicator(record: communicator.record) : communicator
    let made = try Engine(
      ranks, model: weights, optimizer: optimizer.options, limits: limits,
      precision: accelerator?.precision ?? .high, settings: settings, threads: threads,
      seed: UInt64(bitPattern: Int64(model.seed)),
      encoderIsFrozen: model.encoderIsFrozen, wire: accelerator?.wire ?? .no)
    made.lockstep.interval = accelerator?.lockstepCheck ?? 0
    engine = made
    return made
  }

  /// Gives this rank weights of its own, as they are now.
  func goLocal(_ model: BertForSequenceClassification) throws(Failure) {
    let bytes = weights.parameters.count * MemoryLayout<Float>.stride
    try MemoryNeed(rank: bytes, host: bytes * communicator.localSize).require(for: "LocalSGD", communicator)
    let own = Weights(model.configuration, head: model.head)
    own.parameters.pointer.update(from: weights.parameters.pointer, count: weights.parameters.count)
    sharedWeights = weights
    use(own)
  }

  /// Writes this rank's weights, which are the same on all, to those of all ranks.
  func endLocal(_ model: BertForSequenceClassification) throws(Failure) {
    guard let shared = sharedWeights else { return }
    // Nobody writes before all have been read for the last time, or reads before they are written.
    try communicator.barrier()
    if !shared.isShared || communicator.localRank == 0 {
      shared.parameters.pointer.update(from: weights.parameters.pointer, count: weights.parameters.count)
    }
    try communicator.barrier()
    sharedWeights = nil
    use(shared)
    model.window.fail(misuse("LocalSGD", "the optimizer's state ended with it, expected no training after it"))
  }

  private func use(_ weights: Weights) {
    self.weights = weights
    evaluator = Evaluator(
      weights, settings.gemm(accelerator?.precision ?? .high, isForEvaluation: true, threads: threads))
  }

  /// Logits `[rows, labels]` of a batch without dropout.
  func evaluate(_ batch: Batch) -> [Float] { evaluator.logits(batch.content, limits: batch.limits) }
}
