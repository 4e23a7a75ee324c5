import Glibc

/// What a rank does in a step.
public enum StepPart: Int, Sendable, CaseIterable {
  /// Picking the batch's rows.
  case data
  case forward
  case backward
  /// Until the slowest rank had its gradients, and until all were through.
  case waiting
  /// Sums of gradients over hosts.
  case communication
  /// AdamW; where ranks share memory, with the sum of their gradients.
  case optimizer

  public var name: String { "\(self)" }
}

/// Where the time of a step, or of many, went on this rank, in seconds.
public struct StepSeconds: Sendable, Equatable {
  private var parts = SIMD8<Double>()

  public init() {}

  public subscript(part: StepPart) -> Double {
    get { parts[part.rawValue] }
    set { parts[part.rawValue] = newValue }
  }

  public var total: Double { parts.sum() }

  /// This rank's own work: without waiting for others and without sums over hosts.
  public var ownWork: Double { total - self[.waiting] - self[.communication] }

  public static func += (sum: inout StepSeconds, other: StepSeconds) { sum.parts += other.parts }
}

/// Splits the time that passes into parts, one after the other.
public struct LapClock {
  private var last = now()

  public init() {}

  /// Seconds of a clock that only runs forward, from an arbitrary zero of this host.
  public static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  /// Adds the seconds since the last call, or since the beginning, to `part`, and tells from when to when they were.
  @discardableResult
  public mutating func add(to part: inout Double) -> ClosedRange<Double> {
    let span = last...max(last, Self.now())
    part += span.upperBound - span.lowerBound
    last = span.upperBound
    return span
  }

  /// The seconds since the last call, or since the beginning.
  public mutating func lap() -> Double {
    var seconds = 0.0
    add(to: &seconds)
    return seconds
  }
}
