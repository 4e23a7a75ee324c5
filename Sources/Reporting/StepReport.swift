/// What one optimizer step did.
public struct StepReport: Sendable, Equatable {
  /// Steps so far, this one and those left out included.
  public var step: Int
  /// Mean loss of a row over all ranks; not finite where that is why the step was left out.
  public var loss: Double
  /// Euclidean norm of the whole gradient before clipping; not finite where the step was left out.
  public var gradientNorm: Double
  public var learningRate: Double
  /// Whether the user wants the job to stop here; the same on every rank.
  public var isAskedToStop: Bool
  /// Why the step was left out and nothing has changed, in words: step, rank, rows and place. Nil where it was taken. The
  /// same on every rank.
  public var skipped: String?

  package init(
    step: Int, loss: Double, gradientNorm: Double, learningRate: Double, isAskedToStop: Bool = false,
    skipped: String? = nil
  ) {
    self.step = step
    self.loss = loss
    self.gradientNorm = gradientNorm
    self.learningRate = learningRate
    self.isAskedToStop = isAskedToStop
    self.skipped = skipped
  }
}
