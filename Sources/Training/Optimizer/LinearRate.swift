/// The learning rate of each optimizer step: linear warm-up from 0, then linear decay to 0, as transformers'
/// `get_linear_schedule_with_warmup`. Steps are the optimizer's, whatever the number of ranks or micro-batches.
public struct LinearRate: Sendable, Equatable {
  public var peakRate: Double
  public var warmupSteps: Int
  public var totalSteps: Int

  public init(peakRate: Double, warmupSteps: Int, totalSteps: Int) {
    self.peakRate = peakRate
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
  }

  /// The rate that optimizer step `step`, counted from 1, uses.
  public func rate(step: Int) -> Double {
    let done = step - 1
    if done < warmupSteps { return peakRate * Double(done) / Double(max(1, warmupSteps)) }
    return peakRate * max(0, Double(totalSteps - done) / Double(max(1, totalSteps - warmupSteps)))
  }
}
