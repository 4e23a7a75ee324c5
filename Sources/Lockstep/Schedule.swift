import Training

/// Sets an optimizer's learning rate, step by step: torch's `LambdaLR`.
///
/// It counts the steps that the optimizer has taken, so that it may be called after each batch of an accumulation window.
public class LearningRateSchedule {
  let optimizer: AdamW
  private let rate: (Int) -> Double

  /// - Parameter rate: the rate of step `n`, counted from 1.
  public init(_ optimizer: AdamW, rate: @escaping (Int) -> Double) {
    self.optimizer = optimizer
    self.rate = rate
    optimizer.learningRate = rate(optimizer.steps + 1)
  }

  /// Sets the rate of the optimizer's next step.
  public func step() { optimizer.learningRate = rate(optimizer.steps + 1) }

  /// The rate of the next step: torch's `get_last_lr`.
  public var learningRate: Double { optimizer.learningRate }
}

/// Linear warm-up from 0 to the optimizer's rate, then linear decay to 0: transformers'
/// `get_linear_schedule_with_warmup`.
public final class LinearSchedule: LearningRateSchedule {
  /// - Parameter totalSteps: optimizer steps of the whole training.
  public init(_ optimizer: AdamW, warmupSteps: Int, totalSteps: Int) {
    let linear = LinearRate(
      peakRate: optimizer.learningRate, warmupSteps: warmupSteps, totalSteps: totalSteps)
    super.init(optimizer) { linear.rate(step: $0) }
  }
}
