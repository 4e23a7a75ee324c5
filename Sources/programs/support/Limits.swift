import System

/// What numbers of a command line may be, checked before anything is read or allocated. Each is far beyond what makes
/// sense and far below what could overflow.
public enum Limits {
  public static let epochs = 1...1_000_000
  public static let batchSize = 1...1_000_000
  public static let steps = 1...1_000_000_000
  /// Steps of which every one is timed and kept.
  public static let timedSteps = 1...1_000_000
  public static let accumulationSteps = 1...1_000_000
  /// Tokens of a row.
  public static let length = 1...1_000_000
  public static let rows = 1...1_000_000
  public static let ranks = 1...65_536
}

/// Refuses a number of the command line outside `range`.
public func check(_ value: Int?, _ option: String, _ range: ClosedRange<Int>) throws(Failure) {
  guard let value else { return }
  if value < range.lowerBound {
    throw Failure(.usage, at: option, "\(value), expected at least \(range.lowerBound)")
  }
  if value > range.upperBound {
    throw Failure(.usage, at: option, "\(value), expected at most \(range.upperBound)")
  }
}

/// Refuses a number of the command line that is not finite, or less than `least`.
public func check(_ value: Double?, _ option: String, atLeast least: Double) throws(Failure) {
  guard let value, !(value.isFinite && value >= least) else { return }
  throw Failure(.usage, at: option, "\(value), expected a finite number of at least \(least)")
}
