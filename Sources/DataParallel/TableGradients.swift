import Kernels

/// This rank's gradients of the table, of which a window writes few rows: only those are cleared for the next.
struct TableGradients {
  private let layout: GradientLayout
  private let gradients: FloatBuffer
  private let mailbox: StepMailbox
  private var written: TouchedEmbeddingRows
  private var isClear = false

  init(_ layout: GradientLayout, _ memory: GradientMemory) {
    self.layout = layout
    gradients = memory.own
    mailbox = memory.mailbox
    written = TouchedEmbeddingRows(layout)
  }

  /// Clears what the last window has left; at first, all of it.
  ///
  /// - Parameter sums: rows over which the last window's sums were written, besides those that this rank touched.
  mutating func beginWindow(sums: TouchedEmbeddingRows?) {
    defer { mailbox.touched.update(repeating: 0) }
    // The table is not trained then.
    guard layout.trained.lowerBound == 0 else { return }
    let table = layout.table
    guard isClear else {
      isClear = true
      return (gradients.pointer + table.lowerBound).update(repeating: 0, count: table.count)
    }
    written.clear()
    written.formUnion(mailbox.touched)
    if let sums { written.formUnion(sums.bits) }
    written.forEachRun(in: table) { rows, isTouched in
      if isTouched { (gradients.pointer + rows.lowerBound).update(repeating: 0, count: rows.count) }
    }
  }

  /// Marks rows that a backward adds to.
  func touch(_ rows: UnsafeBufferPointer<Int32>) {
    let bits = mailbox.touched
    for row in rows { bits[Int(row) / 64] |= 1 << UInt64(row % 64) }
  }

  /// The whole table is to be cleared.
  mutating func forget() { isClear = false }
}
