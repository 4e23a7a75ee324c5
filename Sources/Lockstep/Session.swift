import BERT
import Collectives
import FileSystem
import Kernels
import Training

/// A model's weights on this rank, and what computes with them.
final class Session {
  let communicator: any Communicator
  /// Nil where the program runs by hand, as one process.
  let accelerator: Accelerator?
  let weights: Weights
  private(set) var engine: Engine?
  private let evaluator: Evaluator
  private let threads = ThreadPool(count: Hardware.threads)
  /// Whether backward leaves the sums over the ranks to the next one.
  var holdsSync = false

  init(_ communicator: any Communicator, accelerator: Accelerator?, _ weights: Weights) {
    self.communicator = communicator
    self.accelerator = accelerator
    self.weights = weights
    evaluator = Evaluator(weights, accelerator?.precision ?? .high, threads: threads)
  }

  /// What trains the weights, made at first use. Called by all ranks.
  func engine(for model: BertForSequenceClassification, _ limits: BatchLimits) throws(Failure) -> Engine {
    if let engine { return engine }
    guard let optimizer = model.optimizer else { throw misuse("model(batch)", "no optimizer was made for the model") }
    let made = try Engine(
      communicator, model: weights, optimizer: optimizer.options, limits: limits,
      precision: accelerator?.precision ?? .high, threads: threads, seed: UInt64(bitPattern: Int64(model.seed)),
      encoderIsFrozen: model.encoderIsFrozen, wire: accelerator?.wire ?? .no)
    engine = made
    return made
  }

  /// Logits `[rows, labels]` of a batch without dropout.
  func evaluate(_ batch: Batch) -> [Float] { evaluator.logits(batch.content, limits: batch.limits) }
}
