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
    /// What keeps the step from being taken; the same on every rank.
    var problem: String?
  }

  /// Sums the gradients over the ranks and takes one optimizer step, the same on every rank; or leaves it out, where a
  /// number is not finite and the optimizer's options say so.
  ///
  /// - Throws: `.badData` on every rank where the loss or the gradient is not a finite number. Nothing is updated then,
  ///   but where only the gradient is bad and the norm is not clipped: the weights are of no use any more.
  @discardableResult
  public func step(learningRate: Double) throws(Failure) -> StepReport {
    precondition(rowsInStep > 0, "step without backward")
    var clock = LapClock()
    // The norm was asked for some time ago: other ranks may still compute with the weights, beside the training.
    if measured != nil, model.isShared { try communicator.barrier() }
    let most = maxGradientNorm ?? (optimizer.options.nonFinite == .skip ? .infinity : nil)
    if measured == nil, let most { measured = try measure(most: most, &clock) }
    let found: Measured
    if let measured {
      found = measured
      if measured.problem == nil { try applyClipped(measured, learningRate, &clock) } else { leaveOut() }
    } else {
      found = try applyAtOnce(learningRate, &clock)
    }
    finish(.waiting, &clock)
    let loss = found.headers.reduce(0) { $0 + $1.lossSum } / Double(rowsInStep)
    endWindow()
    stepSeconds = windowSeconds
    totalSeconds += stepSeconds
    timeline?.endStep()
    windowSeconds = StepSeconds()
    communicator.noteStep(steps)
    takenSinceCheck.add(rate: learningRate)
    return StepReport(
      step: steps, loss: loss, gradientNorm: found.norm, learningRate: learningRate,
      isAskedToStop: found.headers.contains { $0.stop != 0 }, skipped: found.problem)
  }

  /// Sums the gradients of the window over the ranks and settles that the next `step` scales them down to the norm `most`
  /// where theirs is larger. Called by all ranks, after the window's last backward.
  ///
  /// - Returns: the norm before clipping, the same on every rank; not finite where the step will be left out.
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
    var found = try reduce(.later, &clock)
    found.most = most
    if found.problem == nil, !found.norm.isFinite {
      found.problem = try problem(ofNorm: found.norm, step: steps + 1)
    }
    if let problem = found.problem, optimizer.options.nonFinite == .stop { try refuse(problem) }
    return found
  }

  private func applyClipped(
    _ measured: Measured, _ learningRate: Double, _ clock: inout LapClock
  ) throws(Failure) {
    optimizer.beginStep(learningRate: learningRate, gradientScale: min(1, measured.most / (measured.norm + 1e-6)))
    try synchronizer.update { finish(.optimizer, &clock) }
  }

  /// Nothing of the window stays.
  private func leaveOut() {
    skippedSteps += 1
    synchronizer.forgetResiduals()
  }

  private func applyAtOnce(_ learningRate: Double, _ clock: inout LapClock) throws(Failure) -> Measured {
    let number = steps + 1
    let found = try reduce(.now, &clock) { optimizer.beginStep(learningRate: learningRate) }
    if let problem = found.problem { try refuse(problem) }
    if !found.norm.isFinite { try refuse(problem(ofNorm: found.norm, step: number)) }
    return found
  }

  /// Sums the gradients over the ranks, unless a rank's loss is not finite.
  ///
  /// - Parameter begin: begins the update, where the losses are.
  private func reduce(
    _ decision: UpdateDecision, _ clock: inout LapClock, begin: () -> Void = {}
  ) throws(Failure) -> Measured {
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
    var found = Measured(headers: reduced.headers, norm: reduced.squaredNorm.squareRoot(), most: .infinity)
    if let bad = reduced.headers.firstIndex(where: { !$0.lossSum.isFinite }) {
      found.problem = try problem(ofLoss: reduced.headers[bad].lossSum, on: badNumbers.lossRank ?? bad)
    } else if let span = synchronizer.transfer.span {
      timeline?.addTransfer(span)
    }
    return found
  }
}
