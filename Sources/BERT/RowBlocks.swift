import Kernels

// Sums over the rows of a batch, such as a bias's gradient: each block of rows has its own, and all are added up in order.

extension BertClassifier {
  /// Calls `body` for each block of rows, with the thread that it runs on and the memory for the block's sums.
  func forEachRowBlock(
    _ rows: Int, sums width: Int, _ body: (Int, Range<Int>, UnsafeMutablePointer<Float>) -> Void
  ) {
    gemm.threads.forEachBlock(of: rows, blockCount: Activations.rowBlock) { thread, block in
      body(thread, block, memory.blockSums + block.lowerBound / Activations.rowBlock * width)
    }
  }

  func rowBlocks(_ rows: Int) -> Int { (rows + Activations.rowBlock - 1) / Activations.rowBlock }

  /// Adds the sums that `count` blocks or sequences left, `[count, width]`, to vectors of `columns` each that begin at
  /// `targets`; nil where the vector is not wanted.
  func addUp(
    _ count: Int, width: Int, columns: Int,
    _ targets: (UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?)
  ) {
    gemm.threads.forEachPart(of: columns, grain: 256) { _, part in
      func add(_ vector: Int, to target: UnsafeMutablePointer<Float>?) {
        guard let target else { return }
        columnSums(
          rows: count, columns: part.count, memory.blockSums + vector * columns + part.lowerBound, rowStride: width,
          into: target + part.lowerBound, .add)
      }
      add(0, to: targets.0)
      add(1, to: targets.1)
      add(2, to: targets.2)
    }
  }

  /// The way back through a norm, with the gradients of its gain, its shift and the bias before it added.
  ///
  /// - Parameters:
  ///   - gradient: of the norm's output; overwritten with that of the residual.
  ///   - branch: overwritten with the gradient of what bias and dropout were applied to; nil where nothing was.
  func normBackward(
    _ rows: Int, _ norm: ResidualLayerNorm, normalized: UnsafePointer<Float>, inverseDeviation: UnsafePointer<Float>,
    gradient: UnsafeMutablePointer<Float>, branch: UnsafeMutablePointer<Float>?, _ dropout: Dropout?,
    gain: UnsafeMutablePointer<Float>, shift: UnsafeMutablePointer<Float>, bias: UnsafeMutablePointer<Float>?,
    _ address: (Int) -> RandomAddress
  ) {
    let columns = norm.columns
    forEachRowBlock(rows, sums: 3 * columns) { thread, block, sums in
      let offset = block.lowerBound * columns
      norm.backward(
        rows: block.count, normalized: normalized + offset, inverseDeviation: inverseDeviation + block.lowerBound,
        gradient: gradient + offset, branch: branch.map { $0 + offset }, dropout: dropout, sums: sums,
        scratch: memory.rowScratches[thread], address: { address(block.lowerBound + $0) })
    }
    addUp(rowBlocks(rows), width: 3 * columns, columns: columns, (gain, shift, bias))
  }
}
