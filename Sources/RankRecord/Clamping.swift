/// Numbers that a record can hold. A rank with a wild pointer, or a host that makes up a report, can put any there, and
/// whoever computes with them must not trap.
extension RankRecord {
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

extension RankRecord.State {
  /// The same, with numbers that cannot be replaced by the nearest that can.
  public var clamped: Self {
    var state = self
    RankRecord.clamp(&state.status, 0...255)
    RankRecord.clamp(&state.pid, 0...RankRecord.mostPID)
    RankRecord.clamp(&state.rank, -1...65_535)
    RankRecord.clamp(&state.size, 0...65_536)
    RankRecord.clamp(&state.sequence, RankRecord.counts)
    RankRecord.clamp(&state.changed, RankRecord.times)
    RankRecord.clamp(&state.step, -1...RankRecord.counts.upperBound)
    return state
  }
}

extension RankRecord.Entry {
  /// The same, with numbers that cannot be replaced by the nearest that can.
  public var clamped: Self {
    var entry = self
    RankRecord.clamp(&entry.sequence, RankRecord.counts)
    RankRecord.clamp(&entry.step, -1...RankRecord.counts.upperBound)
    RankRecord.clamp(&entry.entered, RankRecord.times)
    RankRecord.clamp(&entry.left, RankRecord.times)
    RankRecord.clamp(&entry.count, RankRecord.counts)
    RankRecord.clamp(&entry.root, 0...65_535)
    return entry
  }
}
