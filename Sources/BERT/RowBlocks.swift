import Kernels

// Sums over the rows of a batch, such as a bias's gradient: each block of rows has its own, and all are added up in order.

extension BertClassifier {
  /// Calls `body` for each block of lines, with the thread that it runs on and the memory for the block's sums.
  func forEachRowBlock(
    _ lines: ProductRows, sums width: Int, _ body: (Int, Range<Int>, UnsafeMutablePointer<Float>) -> Void
  ) {
    if let blocks = grouping?.lineBlocks(lines) {
      return gemm.threads.forEachItem(of: blocks.count) { thread, block in
        body(thread, blocks[block], memory.blockSums + block * width)
      }
    }
    gemm.threads.forEachBlock(of: lines.count, blockCount: Activations.rowBlock) { thread, block in
      body(thread, block, memory.blockSums + block.lowerBound / Activations.rowBlock * width)
    }
  }

  /// Adds the sums that blocks of lines left, `[blocks, width]`, to vectors of `columns` each that begin at `targets`; nil
  /// where the vector is not wanted.
  func addUp(
    blocksOf lines: ProductRows, width: Int, columns: Int,
    _ targets: (UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?)
  ) {
    let count = (lines.count + Activations.rowBlock - 1) / Activations.rowBlock
    addUp(count, width: width, columns: columns, targets) { grouping, group in grouping.blocks(lines, of: group) }
  }

  /// The same for the sums of `count` blocks or sequences.
  ///
  /// - Parameter ofGroup: which of them a group of rows has.
  func addUp(
    _ count: Int, width: Int, columns: Int,
    _ targets: (UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?),
    ofGroup: (GroupedGradients, Int) -> Range<Int>
  ) {
    if let grouping {
      func overwrite(_ vector: Int, at target: UnsafeMutablePointer<Float>?) {
        guard let target else { return }
        grouping.overwriteVectors(at: target, count: columns) { group, output, part in
          let blocks = ofGroup(grouping, group)
          columnSums(
            rows: blocks.count, columns: part.count,
            memory.blockSums + blocks.lowerBound * width + vector * columns + part.lowerBound, rowStride: width,
            into: output + part.lowerBound, .overwrite)
        }
      }
      overwrite(0, at: targets.0)
      overwrite(1, at: targets.1)
      return overwrite(2, at: targets.2)
    }
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
    _ lines: ProductRows, _ norm: ResidualLayerNorm, normalized: UnsafePointer<Float>,
    inverseDeviation: UnsafePointer<Float>,
    gradient: UnsafeMutablePointer<Float>, branch: UnsafeMutablePointer<Float>?, _ dropout: Dropout?,
    gain: UnsafeMutablePointer<Float>, shift: UnsafeMutablePointer<Float>, bias: UnsafeMutablePointer<Float>?,
    _ address: (Int) -> RandomAddress
  ) {
    let columns = norm.columns
    forEachRowBlock(lines, sums: 3 * columns) { thread, block, sums in
      let offset = block.lowerBound * columns
      norm.backward(
        rows: block.count, normalized: normalized + offset, inverseDeviation: inverseDeviation + block.lowerBound,
        gradient: gradient + offset, branch: branch.map { $0 + offset }, dropout: dropout, sums: sums,
        scratch: memory.rowScratches[thread], address: { address(block.lowerBound + $0) })
    }
    addUp(blocksOf: lines, width: 3 * columns, columns: columns, (gain, shift, bias))
  }
}
