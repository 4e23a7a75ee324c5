/// Numbers that a record can hold. A rank with a wild pointer, or a host that makes up a report, can put any there, and
/// whoever computes with them must not trap.
extension FlightRecorder {
  /// 146 years.
  public static let mostNanoseconds: Int64 = 1 << 62
  /// The kernel's own limit.
  public static let mostPID: Int64 = 4_194_304
  private static let mostCount: Int64 = 1 << 53

  fileprivate static func clamp(_ value: inout Int64, _ range: ClosedRange<Int64>) {
    value = min(max(value, range.lowerBound), range.upperBound)
  }

  fileprivate static let counts: ClosedRange<Int64> = 0...mostCount
  fileprivate static let times: ClosedRange<Int64> = 0...mostNanoseconds
}

extension FlightRecorder.State {
  /// The same, with numbers that cannot be replaced by the nearest that can.
  public var clamped: Self {
    var state = self
    FlightRecorder.clamp(&state.status, 0...255)
    FlightRecorder.clamp(&state.pid, 0...FlightRecorder.mostPID)
    FlightRecorder.clamp(&state.rank, -1...65_535)
    FlightRecorder.clamp(&state.size, 0...65_536)
    FlightRecorder.clamp(&state.sequence, FlightRecorder.counts)
    FlightRecorder.clamp(&state.changed, FlightRecorder.times)
    FlightRecorder.clamp(&state.step, -1...FlightRecorder.counts.upperBound)
    return state
  }
}

extension FlightRecorder.Entry {
  /// The same, with numbers that cannot be replaced by the nearest that can.
  public var clamped: Self {
    var entry = self
    FlightRecorder.clamp(&entry.sequence, FlightRecorder.counts)
    FlightRecorder.clamp(&entry.step, -1...FlightRecorder.counts.upperBound)
    FlightRecorder.clamp(&entry.entered, FlightRecorder.times)
    FlightRecorder.clamp(&entry.left, FlightRecorder.times)
    FlightRecorder.clamp(&entry.count, FlightRecorder.counts)
    FlightRecorder.clamp(&entry.root, 0...65_535)
    return entry
  }
}
