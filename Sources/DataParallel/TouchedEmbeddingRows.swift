/// The rows of the word table that a step touches, on any of the ranks that are asked: of all others the gradient is 0, so
/// that nobody needs to clear, add up or read it.
package struct TouchedEmbeddingRows: Sendable {
  /// A bit for each row.
  package private(set) var bits: [UInt64]
  private let columns: Int
  /// Where the table ends in the flat buffer, whose beginning it is.
  private let end: Int

  /// No row.
  package init(_ layout: GradientLayout) {
    columns = layout.columns
    end = layout.table.upperBound
    bits = Array(repeating: 0, count: layout.bitWords)
  }

  /// Forgets all rows.
  package mutating func clear() { for index in bits.indices { bits[index] = 0 } }

  /// Adds the rows of `others`.
  package mutating func formUnion(_ others: some Collection<UInt64>) {
    for (index, other) in zip(bits.indices, others) { bits[index] |= other }
  }

  /// Calls `body` for each longest run of parameters of `range` that are alike, in order, with whether they may have
  /// gradients; those behind the table may.
  package func forEachRun(in range: Range<Int>, _ body: (Range<Int>, Bool) -> Void) {
    var start = range.lowerBound
    while start < range.upperBound {
      let isTouched = mayHaveGradient(start)
      var stop = start
      while stop < range.upperBound, mayHaveGradient(stop) == isTouched {
        stop = stop < end ? (stop / columns + 1) * columns : range.upperBound
      }
      stop = min(stop, range.upperBound)
      body(start..<stop, isTouched)
      start = stop
    }
  }

  private func mayHaveGradient(_ parameter: Int) -> Bool {
    guard parameter < end else { return true }
    let row = parameter / columns
    return bits[row / 64] >> UInt64(row % 64) & 1 == 1
  }
}
