import Glibc

/// Where the time of a step went on this rank, in seconds.
public struct StepSeconds: Sendable, Equatable {
  /// Picking the batch's rows.
  public var data = 0.0
  public var forward = 0.0
  public var backward = 0.0
  /// Until the slowest rank had its gradients, and until all were through.
  public var waiting = 0.0
  /// Sums of gradients over hosts.
  public var communication = 0.0
  /// AdamW; where ranks share memory, with the sum of their gradients.
  public var optimizer = 0.0

  public init() {}

  public var total: Double { data + forward + backward + waiting + communication + optimizer }
}

/// Splits the time that passes into parts, one after the other.
public struct LapClock {
  private var last = now()

  public init() {}

  private static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  /// Adds the seconds since the last call, or since the beginning, to `part`.
  public mutating func add(to part: inout Double) {
    let now = Self.now()
    part += now - last
    last = now
  }
}
