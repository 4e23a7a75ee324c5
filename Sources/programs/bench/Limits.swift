import FileSystem

/// Refuses a number of the command line outside `range`.
func check(_ value: Int, _ name: String, _ range: ClosedRange<Int>) throws(Failure) {
  guard range.contains(value) else {
    throw Failure(.usage, at: name, "\(value), expected \(range.lowerBound) to \(range.upperBound)")
  }
}
