import Kernels

/// The rows of a table that a step touches, end to end, so that only they travel.
package struct SparseGradientRows {
  /// This rank's rows of the table.
  let table: Range<Int>
  let columns: Int
  /// In order.
  private(set) var rows: [Int] = []
  package private(set) var values = FloatBuffer(count: 0)
  /// What rounding has lost of each value.
  package private(set) var residuals: FloatBuffer?
  private let rounds: Bool

  package init(_ table: Range<Int>, columns: Int, rounds: Bool) {
    self.table = table
    self.columns = columns
    self.rounds = rounds
  }

  /// Numbers of all rows together.
  package var count: Int { rows.count * columns }

  /// Takes the rows whose bits are set, as sums of `gradients`; allocates only where there were never so many.
  ///
  /// - Parameters:
  ///   - gradients: whole buffers; the table is their beginning.
  ///   - tableResiduals: of this rank's rows.
  package mutating func pack(
    _ touched: [UInt64], _ gradients: [UnsafeMutablePointer<Float>],
    residuals tableResiduals: UnsafeMutablePointer<Float>?
  ) {
    rows.removeAll(keepingCapacity: true)
    for row in table where touched[row / 64] >> UInt64(row % 64) & 1 == 1 { rows.append(row) }
    if values.count < count {
      let room = min(count * 3 / 2, table.count * columns)
      values = FloatBuffer(count: room)
      if rounds { residuals = FloatBuffer(count: room) }
    }
    for (index, row) in rows.enumerated() {
      let target = values.pointer + index * columns
      target.update(from: gradients[0] + row * columns, count: columns)
      for source in gradients.dropFirst() { add(count: columns, source + row * columns, to: target) }
      if let tableResiduals, let residuals {
        (residuals.pointer + index * columns).update(
          from: tableResiduals + (row - table.lowerBound) * columns, count: columns)
      }
    }
  }

  /// Puts values and residuals back into their rows.
  package func unpack(
    into gradients: UnsafeMutablePointer<Float>, residuals tableResiduals: UnsafeMutablePointer<Float>?
  ) {
    for (index, row) in rows.enumerated() {
      (gradients + row * columns).update(from: values.pointer + index * columns, count: columns)
      if let tableResiduals, let residuals {
        (tableResiduals + (row - table.lowerBound) * columns).update(
          from: residuals.pointer + index * columns, count: columns)
      }
    }
  }
}
