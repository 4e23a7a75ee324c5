import Glibc
import System

/// The learning rate of each optimizer step, as transformers' `get_scheduler` gives it by the same names. Steps are the
/// optimizer's, whatever the number of ranks or micro-batches.
public struct RateSchedule: Sendable, Equatable {
  /// What the rate does after the warm-up, in which it rises from 0.
  public enum Kind: String, Sendable, CaseIterable {
    /// It falls in a line to 0.
    case linear
    /// It falls along half a cosine to 0.
    case cosine
    /// As `cosine`, with a number of restarts that is 1 where nobody names another: then it is `cosine`.
    case cosineWithRestarts = "cosine_with_restarts"
    /// It falls to 1e-7 along a polynomial of power 1.
    case polynomial
    /// It stays, and there is no warm-up.
    case constant
    /// It stays.
    case constantWithWarmup = "constant_with_warmup"

    /// What a person reads: `linear to 0`.
    public var description: String {
      switch self {
      case .linear: "linear to 0"
      case .cosine, .cosineWithRestarts: "along a cosine to 0"
      case .polynomial: "linear to \(RateSchedule.polynomialEnd)"
      case .constant, .constantWithWarmup: "constant"
      }
    }
  }

  public let kind: Kind
  public let peakRate: Double
  public let warmupSteps: Int
  public let totalSteps: Int

  /// Where `polynomial` ends: transformers' `lr_end`.
  static let polynomialEnd = 1e-7

  /// Throws `.usage` for more warm-up steps than steps, a warm-up of `constant`, or a rate that `polynomial` cannot lower.
  public init(_ kind: Kind, peakRate: Double, warmupSteps: Int, totalSteps: Int) throws(Failure) {
    guard (0...totalSteps).contains(warmupSteps) else {
      throw Failure(.usage, "\(warmupSteps) warm-up steps, expected at most the run's \(totalSteps) steps")
    }
    guard kind != .constant || warmupSteps == 0 else {
      throw Failure(
        .usage, "\(warmupSteps) warm-up steps, but the schedule constant has none",
        hint: "constant_with_warmup has a warm-up")
    }
    guard kind != .polynomial || peakRate > Self.polynomialEnd else {
      throw Failure(
        .usage, "the learning rate is \(peakRate), expected more than \(Self.polynomialEnd), where polynomial ends")
    }
    self.kind = kind
    self.peakRate = peakRate
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
  }

  /// The rate that optimizer step `step`, counted from 1, uses.
  public func rate(step: Int) -> Double {
    let done = step - 1
    switch kind {
    case .linear:
      return LinearRate(peakRate: peakRate, warmupSteps: warmupSteps, totalSteps: totalSteps).rate(step: step)
    case .constant: return peakRate
    default: break
    }
    if done < warmupSteps { return peakRate * (Double(done) / Double(max(1, warmupSteps))) }
    let progress = Double(done - warmupSteps) / Double(max(1, totalSteps - warmupSteps))
    switch kind {
    case .cosine: return peakRate * max(0, 0.5 * (1 + cos(Double.pi * progress)))
    case .cosineWithRestarts: return progress >= 1 ? 0 : peakRate * max(0, 0.5 * (1 + cos(Double.pi * progress)))
    case .polynomial:
      return done > totalSteps
        ? Self.polynomialEnd : (peakRate - Self.polynomialEnd) * (1 - progress) + Self.polynomialEnd
    case .linear, .constant, .constantWithWarmup: return peakRate
    }
  }
}
