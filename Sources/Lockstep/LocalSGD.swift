import Collectives
import System
import Training

/// Trains each rank on its own rows with weights of its own, and averages them every few steps: Accelerate's `LocalSGD`
/// (Stich, arXiv 1805.09767). Fewer sums over slow networks, at the price of another curve on each number of ranks.
public final class LocalSGD {
  private let accelerator: Accelerator
  private let session: Session
  private let interval: Int
  private var steps = 0

  private init(_ accelerator: Accelerator, _ session: Session, interval: Int) {
    self.accelerator = accelerator
    self.session = session
    self.interval = interval
  }

  /// Runs `body` with local steps. At its end the weights are averaged and shared again. It holds the whole training: the
  /// model is evaluated and saved after it, and trained no further. Called by all ranks.
  ///
  /// - Parameters:
  ///   - accelerator: of this rank.
  ///   - model: prepared, and not trained yet.
  ///   - steps: optimizer steps from one average to the next.
  ///   - body: a training loop that calls `step` after each optimizer step.
  public static func run<Result>(
    _ accelerator: Accelerator, _ model: BertForSequenceClassification, steps: Int,
    _ body: (LocalSGD) throws -> Result
  ) throws -> Result {
    guard steps >= 1 else { throw misuse("LocalSGD", "averages every \(steps) steps, expected at least 1") }
    guard let session = model.session, session.accelerator === accelerator else {
      throw misuse("LocalSGD", "the model was not passed to prepare")
    }
    guard session.engine == nil else {
      throw misuse("LocalSGD", "the model has been trained already", hint: "put the whole training into LocalSGD")
    }
    try session.goLocal(model)
    let local = LocalSGD(accelerator, session, interval: steps)
    let result = try body(local)
    try local.average()
    try session.endLocal(model)
    return result
  }

  /// Counts an optimizer step, and averages the weights of all ranks where it is time to. Called by all ranks after each
  /// step.
  public func step() throws(Failure) {
    steps += 1
    if steps % interval == 0 { try average() }
  }

  private func average() throws(Failure) {
    let weights = session.weights.parameters.buffer
    try accelerator.communicator.sum(weights)
    let factor = 1 / Float(accelerator.numProcesses)
    for index in weights.indices { weights[index] *= factor }
  }
}
