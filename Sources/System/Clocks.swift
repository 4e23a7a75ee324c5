import Glibc

/// Nanoseconds of this host's monotonic clock, which all its processes share and which only runs forward.
public func monotonicNanoseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// Splits the time that passes into parts, one after the other.
public struct LapClock {
  private var last = now()

  public init() {}

  /// Seconds of a clock that only runs forward, from an arbitrary zero of this host.
  public static func now() -> Double {
    secondsOfClock(CLOCK_MONOTONIC)
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

/// Seconds since this host was started, the time that it slept included: the clock of /proc's start times.
public func secondsSinceBoot() -> Double { secondsOfClock(CLOCK_BOOTTIME) }

/// Seconds since 1970.
public func secondsSince1970() -> Double { secondsOfClock(CLOCK_REALTIME) }

private func secondsOfClock(_ clock: clockid_t) -> Double {
  var time = timespec()
  clock_gettime(clock, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// The present time for people to read, in the form of `strftime`: `%H:%M:%S` is `14:02:11`.
///
/// - Parameter isUniversal: whether it is UTC; else it is this machine's local time.
public func presentTime(_ format: String, isUniversal: Bool = false) -> String {
  var now = time(nil)
  var parts = tm()
  if isUniversal { gmtime_r(&now, &parts) } else { localtime_r(&now, &parts) }
  var text = [CChar](repeating: 0, count: 64)
  let count = strftime(&text, text.count, format, &parts)
  return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
