import Kernels
import Reporting
import System

extension TimeReport {
  /// Everybody's times. Called by all ranks.
  public init(_ engine: TrainingEngine) throws(Failure) {
    // Measured with AMX: in bf16 bert-base's forward and backward take 0.65 times as long (docs/performance.md). Products of
    // smaller matrices do not take most of the time.
    let isSlower = engine.precision != .bf16 && ProductPrecision.isBF16Fast
    try self.init(
      engine.totalSeconds, evaluation: engine.evaluationSeconds, steps: engine.steps,
      savedByFasterPrecision: isSlower && engine.model.configuration.hiddenSize >= 256 ? 0.35 : 0, engine.communicator)
  }
}
