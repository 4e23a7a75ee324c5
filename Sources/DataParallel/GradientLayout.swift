/// What adding up must know of a model's gradients: one flat buffer, at whose beginning stands a table of which a step
/// touches few rows, the word embeddings.
package struct GradientLayout: Sendable {
  /// Floats of the whole buffer.
  package let count: Int
  /// Rows of the table at its beginning.
  package let rows: Int
  /// Floats of a row.
  package let columns: Int
  /// The offsets from which on gradients are final, in the order in which backward comes down to them; the last is 0.
  package let finalOffsets: [Int]
  /// What is trained; it reaches to the end.
  package let trained: Range<Int>

  package init(count: Int, rows: Int, columns: Int, finalOffsets: [Int], trained: Range<Int>) {
    precondition(rows * columns <= count, "a table of \(rows) rows of \(columns) in \(count) floats")
    precondition(trained.upperBound == count, "trained are \(trained), expected to the end, \(count)")
    self.count = count
    self.rows = rows
    self.columns = columns
    self.finalOffsets = finalOffsets
    self.trained = trained
  }

  /// The table's place, at the beginning.
  package var table: Range<Int> { 0..<rows * columns }

  /// Words of 64 bits, of which each row has one bit.
  package var bitWords: Int { (rows + 63) / 64 }
}
