import System

/// Where a model is between forward, backward, step and zero-grad; finds calls in a wrong order.
struct GradientWindow {
  private enum State {
    case empty
    /// Gradients of some batches are there; `isLast` after the last one of the window, `isSent` once they may travel.
    case filled(isLast: Bool, isSent: Bool)
    /// A step has used the gradients, and nobody has said that they are to be forgotten.
    case used
  }

  private var state = State.empty
  /// Training forwards so far.
  var forwards = 0
  /// The last of them that went back.
  private var backwards = 0
  private var problem: Failure?

  /// Whether the gradients of the last backward are those of a whole window (Accelerate's `sync_gradients`).
  private(set) var isComplete = true

  /// From now on every call fails so.
  mutating func fail(_ problem: Failure) { self.problem = problem }

  mutating func beginBackward(of forward: Int, isPrepared: Bool) throws(Failure) {
    if let problem { throw problem }
    guard forward == forwards else {
      throw misuse(
        "loss.backward", "the model has computed another batch since", hint: "go back before the next forward")
    }
    guard backwards < forward else { throw misuse("loss.backward", "a second time for one forward") }
    switch state {
    case .used:
      throw misuse(
        "loss.backward", "the gradients of the last step are still there", hint: "call optimizer.zeroGrad after step")
    case .filled(_, isSent: true):
      throw misuse(
        "loss.backward", "the gradients of a whole window are on their way to the other ranks, expected optimizer.step",
        hint: "accumulate with gradientAccumulationSteps or noSync")
    case .empty, .filled: break
    }
    backwards = forward
  }

  mutating func endBackward(isLast: Bool, isSent: Bool) {
    state = .filled(isLast: isLast, isSent: isSent)
    isComplete = isLast
  }

  /// Whether the optimizer is to step now; false within an accumulation window.
  func mayStep(_ call: String) throws(Failure) -> Bool {
    if let problem { throw problem }
    switch state {
    case .empty: throw misuse(call, "there are no gradients", hint: "call backward first")
    case .used: throw misuse(call, "a second time for the same gradients", hint: "call zeroGrad, forward and backward")
    case .filled(let isLast, _): return isLast
    }
  }

  mutating func endStep() { state = .used }

  /// Whether gradients that no step has used are to be forgotten; nothing within an accumulation window of a prepared
  /// model.
  mutating func zeroGrad(isPrepared: Bool) -> Bool {
    switch state {
    case .empty: return false
    case .used:
      state = .empty
      return false
    case .filled(let isLast, let isSent):
      if isPrepared && !isLast { return false }
      guard !isSent else {
        problem = misuse(
          "optimizer.zeroGrad", "the gradients are on their way to the other ranks, expected optimizer.step before")
        return false
      }
      state = .empty
      return true
    }
  }
}
