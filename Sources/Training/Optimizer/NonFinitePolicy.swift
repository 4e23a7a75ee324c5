/// What becomes of a step whose loss or gradient is not a finite number.
public enum NonFinitePolicy: String, Sendable, CaseIterable {
  /// The job ends on all ranks, with `.badData`.
  case stop
  /// All ranks leave the step out: weights, moments and the optimizer's count of steps stay as they are, and so does a
  /// schedule that follows that count, as with torch's `GradScaler` and Accelerate's schedules. Its rows count as seen.
  /// The norm is known before the update then, which takes one more pass over the gradients, as clipping does.
  case skip
}
