import BERT
import Collectives
import DataParallel
import Kernels
import Reporting
import System

extension TrainingEngine {
  /// What is known of a window's gradients before they are applied.
  struct Measured {
    var headers: [StepHeader]
    var norm: Double
    /// The norm that the gradient is scaled down to.
    var most: Double
  }

  /// Sums the gradients over the ranks and takes one optimizer step, the same on every rank.
  ///
  /// - Throws: `.badData` on every rank where the loss or the gradient is not a finite number. Nothing is updated then,
  ///   but where only the gradient is bad and the norm is not clipped: the weights are of no use any more.
  @discardableResult
  public func step(learningRate: Double) throws(Failure) -> StepReport {
    precondition(rowsInStep > 0, "step without backward")
    var clock = LapClock()
    if measured == nil, let maxGradientNorm { measured = try measure(most: maxGradientNorm, &clock) }
    let (headers, norm) =
      if let measured {
        try applyClipped(measured, learningRate, &clock)
      } else {
        try applyAtOnce(learningRate, &clock)
      }
    measured = nil
    finish(.waiting, &clock)
    let loss = headers.reduce(0) { $0 + $1.lossSum } / Double(rowsInStep)
    windowLossSum = 0
    rowsInStep = 0
    stepSeconds = windowSeconds
    totalSeconds += stepSeconds
    timeline?.endStep()
    windowSeconds = StepSeconds()
    communicator.noteStep(optimizer.step)
    return StepReport(
      step: optimizer.step, loss: loss, gradientNorm: norm, learningRate: learningRate,
      isAskedToStop: headers.contains { $0.stop != 0 })
  }

  /// Sums the gradients of the window over the ranks and settles that the next `step` scales them down to the norm `most`
  /// where theirs is larger. Called by all ranks, after the window's last backward.
  ///
  /// - Returns: the norm before clipping, the same on every rank.
  public func clipGradientNorm(_ most: Double) throws(Failure) -> Double {
    precondition(rowsInStep > 0, "clipping without backward")
    var clock = LapClock()
    guard let known = measured else {
      let found = try measure(most: most, &clock)
      measured = found
      return found.norm
    }
    measured?.most = min(known.most, most)
    return known.norm
  }

  private func measure(most: Double, _ clock: inout LapClock) throws(Failure) -> Measured {
    let reduced = try reduce(.later, &clock)
    let norm = reduced.squaredNorm.squareRoot()
    try requireFinite(norm, step: optimizer.step + 1)
    return Measured(headers: reduced.headers, norm: norm, most: most)
  }

  private func applyClipped(
    _ measured: Measured, _ learningRate: Double, _ clock: inout LapClock
  ) throws(Failure) -> (headers: [StepHeader], norm: Double) {
    optimizer.beginStep(learningRate: learningRate, gradientScale: min(1, measured.most / (measured.norm + 1e-6)))
    try synchronizer.update { finish(.optimizer, &clock) }
    return (measured.headers, measured.norm)
  }

  private func applyAtOnce(
    _ learningRate: Double, _ clock: inout LapClock
  ) throws(Failure) -> (headers: [StepHeader], norm: Double) {
    let reduced = try reduce(.now, &clock) { optimizer.beginStep(learningRate: learningRate) }
    let norm = reduced.squaredNorm.squareRoot()
    try requireFinite(norm, step: optimizer.step)
    return (reduced.headers, norm)
  }

  /// Sums the gradients over the ranks, unless a rank's loss is not finite.
  ///
  /// - Parameter begin: begins the update, where the losses are.
  private func reduce(
    _ decision: UpdateDecision, _ clock: inout LapClock, begin: () -> Void = {}
  ) throws(Failure) -> ReducedGradients {
    let reduced = try synchronizer.reduce(header) { headers in
      guard headers.allSatisfy(\.lossSum.isFinite) else { return .never }
      begin()
      return decision
    } reached: { phase in
      switch phase {
      case .heard: finish(.waiting, &clock)
      case .summed: finish(.communication, &clock)
      case .updated: finish(.optimizer, &clock)
      }
    }
    if let bad = reduced.headers.firstIndex(where: { !$0.lossSum.isFinite }) {
      try refuseLoss(reduced.headers[bad].lossSum, on: bad)
    }
    if let span = synchronizer.transfer.span { timeline?.addTransfer(span) }
    return reduced
  }

  private func requireFinite(_ norm: Double, step: Int) throws(Failure) {
    if norm.isFinite { return }
    // Each rank knows the sums of its parts only.
    let slots = model.layout.slots
    let own = synchronizer.firstBad(slots.map(\.range), in: optimizer.parts)
    let first = try communicator.allGather(own ?? slots.count).min() ?? slots.count
    let name = first < slots.count ? slots[first].name : "all tensors together"
    try refuse("the gradient of \(name) became \(named(norm)) at step \(step)")
  }

  /// A number that is not finite, without the sign that a NaN may have.
  func named(_ value: Double) -> String { value.isNaN ? "NaN" : "\(value)" }

  /// Every rank knows the same, so all end in order and one line is printed.
  func refuse(_ message: String) throws(Failure) {
    try communicator.agree { () throws(Failure) in
      throw Failure(
        .badData, message, hint: "a lower learning rate may help, or gradients that are clipped to a norm of 1",
        cause: .notFinite)
    }
  }
}
