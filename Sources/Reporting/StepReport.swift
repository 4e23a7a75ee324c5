/// What one optimizer step did.
public struct StepReport: Sendable, Equatable {
  /// Steps taken so far, this one included.
  public var step: Int
  /// Mean loss of a row over all ranks.
  public var loss: Double
  /// Euclidean norm of the whole gradient before clipping.
  public var gradientNorm: Double
  public var learningRate: Double
  /// Whether the user wants the job to stop here; the same on every rank.
  public var isAskedToStop: Bool

  package init(step: Int, loss: Double, gradientNorm: Double, learningRate: Double, isAskedToStop: Bool = false) {
    self.step = step
    self.loss = loss
    self.gradientNorm = gradientNorm
    self.learningRate = learningRate
    self.isAskedToStop = isAskedToStop
  }
}
