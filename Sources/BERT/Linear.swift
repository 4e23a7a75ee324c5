import Kernels

/// How many rows a product has, and of what: all tokens of a batch, or its first tokens only.
enum ProductRows {
  case tokens(Int)
  case firstTokens(Int)

  var count: Int {
    switch self {
    case .tokens(let count), .firstTokens(let count): count
    }
  }

  /// By kind, never by count: a row's result may not depend on what else is in the batch.
  var kind: GEMM.RowKind {
    switch self {
    case .tokens: .many
    case .firstTokens: .few
    }
  }
}

extension BertClassifier {
  // MARK: The three products of a linear layer y = x · Wᵀ, W [outputs, inputs]

  /// output [lines, outputs] = x [lines, inputs] · Wᵀ, overwritten; the bias is left to the kernel that follows.
  func project(
    _ lines: ProductRows, _ x: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, inputs: Int, outputs: Int,
    into output: UnsafeMutablePointer<Float>
  ) {
    gemm.product(
      .forward, of: lines.kind, rows: lines.count, columns: outputs, depth: inputs, MatrixOperand(x, rowStride: inputs),
      MatrixOperand(weight, rowStride: inputs).transposed, into: output, outputStride: outputs)
  }

  /// dW [outputs, inputs] = dyᵀ · x, overwritten or added to.
  func weightGradient(
    _ lines: ProductRows, _ gradient: UnsafePointer<Float>, outputs: Int, _ x: UnsafePointer<Float>, inputs: Int,
    into output: UnsafeMutablePointer<Float>, _ mode: OutputMode
  ) {
    func product(
      _ range: Range<Int>, into output: UnsafeMutablePointer<Float>, _ mode: OutputMode, isReadLate: Bool = true
    ) {
      gemm.product(
        .weightGradient, of: lines.kind, rows: outputs, columns: inputs, depth: range.count,
        MatrixOperand(gradient + range.lowerBound * outputs, rowStride: outputs).transposed,
        MatrixOperand(x + range.lowerBound * inputs, rowStride: inputs), into: output, outputStride: inputs, mode,
        isReadLate: isReadLate)
    }
    guard let grouping else { return product(0..<lines.count, into: output, mode) }
    grouping.overwriteMatrices(
      at: output, count: outputs * inputs,
      addsAtOnce: { gemm.isAddedAtOnce(lines.kind, depth: grouping.lines(lines, of: $0).count) }
    ) { group, place, mode in
      product(grouping.lines(lines, of: group), into: place, mode, isReadLate: false)
    }
  }

  /// dx [lines, inputs] = dy · W, overwritten or added to.
  func inputGradient(
    _ lines: ProductRows, _ gradient: UnsafePointer<Float>, outputs: Int, _ weight: UnsafePointer<Float>, inputs: Int,
    into output: UnsafeMutablePointer<Float>, _ mode: OutputMode
  ) {
    gemm.product(
      .inputGradient, of: lines.kind, rows: lines.count, columns: inputs, depth: outputs,
      MatrixOperand(gradient, rowStride: outputs),
      MatrixOperand(weight, rowStride: inputs), into: output, outputStride: inputs, mode)
  }
}
