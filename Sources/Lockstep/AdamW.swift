import Reporting
import System
import Training

/// AdamW with torch's numbers and order, over all weights of a model.
public final class AdamW: Preparable {
  /// The rate of the next step; a schedule sets it.
  public var learningRate: Double
  let model: BertForSequenceClassification
  let options: AdamWOptimizer.Options

  /// - Parameters:
  ///   - model: whose weights it changes. A model has one optimizer; a later one takes its place until the first forward.
  ///   - learningRate: of the first step; a schedule changes it.
  ///   - weightDecay: of all weights; torch's default.
  ///   - betas: of the means of the gradient and of its square.
  ///   - epsilon: what is added to the root of the second mean.
  ///   - sparesBiasAndNorm: whether biases and LayerNorm's weights do not decay.
  ///   - nonFinite: what becomes of a step whose loss or gradient is not a finite number.
  public init(
    _ model: BertForSequenceClassification, learningRate: Double, weightDecay: Double = 0.01,
    betas: (Double, Double) = (0.9, 0.999), epsilon: Double = 1e-8, sparesBiasAndNorm: Bool = false,
    nonFinite: NonFinitePolicy = .stop
  ) {
    self.model = model
    self.learningRate = learningRate
    options = AdamWOptimizer.Options(
      weightDecay: weightDecay, beta1: betas.0, beta2: betas.1, epsilon: epsilon, sparesBiasAndNorm: sparesBiasAndNorm,
      nonFinite: nonFinite)
    model.attach(self)
  }

  /// Steps taken so far; those left out do not count.
  public var steps: Int { model.session?.engine?.optimizer.step ?? 0 }

  /// Whether the last `step` was left out, because a number was not finite: Accelerate's `optimizer_step_was_skipped`. The
  /// same on every rank.
  public private(set) var stepWasSkipped = false

  /// Sums the gradients over the ranks and takes one step, the same on every rank. Does nothing within an accumulation
  /// window. Called by all ranks.
  ///
  /// - Returns: what it did; nil within a window.
  /// - Throws: `.badData` on all ranks where the loss or the gradient is not a finite number and `nonFinite` is `.stop`;
  ///   `.disagreement` on all ranks, once in `lockstepCheck` steps, where these were not the same on every rank; a misuse
  ///   without gradients.
  @discardableResult
  public func step() throws(Failure) -> StepReport? {
    guard model.optimizer?.id == ObjectIdentifier(self) else {
      throw misuse("optimizer.step", "another optimizer was made for the model since")
    }
    guard try model.window.mayStep("optimizer.step") else { return nil }
    guard let session = model.session, let engine = session.engine else {
      throw misuse("optimizer.step", "the model has not computed anything")
    }
    let report = try engine.step(learningRate: learningRate)
    model.window.endStep()
    stepWasSkipped = report.skipped != nil
    try engine.checkLockstepWhereDue()
    if report.isAskedToStop, !session.isLocal { session.accelerator?.shouldStop = true }
    return report
  }

  /// Forgets the gradients. Does nothing within an accumulation window.
  public func zeroGrad() {
    if model.window.zeroGrad(isPrepared: model.session?.accelerator != nil) {
      model.session?.engine?.discardWindow()
    }
  }
}
