// y = γ · x̂ + β, x̂ = (z - mean(z)) / √(var(z) + ε), over the last axis, with the biased variance.
// Ba, Kiros, Hinton, "Layer Normalization", arXiv 1607.06450. Backward, with g = dy · γ and n columns:
// dz = (g - Σg / n - x̂ · Σ(g · x̂) / n) / √(var + ε).

/// z = dropout(x + bias) + residual; y = LayerNorm(z): the end of each half of a layer.
public struct ResidualLayerNorm {
  public var columns: Int
  public var epsilon: Float
  /// `[columns]` each.
  public var gain: UnsafePointer<Float>
  public var shift: UnsafePointer<Float>

  public init(columns: Int, epsilon: Float, gain: UnsafePointer<Float>, shift: UnsafePointer<Float>) {
    self.columns = columns
    self.epsilon = epsilon
    self.gain = gain
    self.shift = shift
  }

  /// - Parameters:
  ///   - x: `[rows, columns]`; overwritten with x̂, which `backward` needs.
  ///   - bias: `[columns]`, or nil.
  ///   - residual: `[rows, columns]`, or nil.
  ///   - inverseDeviation: `[rows]`, overwritten with 1 / √(var + ε).
  ///   - output: `[rows, columns]`, overwritten with y.
  ///   - scratch: room for `columns` and `Dropout.padding`.
  ///   - address: where each row's randomness lies; not called where dropout is not active.
  public func forward(
    rows: Int, x: UnsafeMutablePointer<Float>, bias: UnsafePointer<Float>?, residual: UnsafePointer<Float>?,
    dropout: Dropout?, inverseDeviation: UnsafeMutablePointer<Float>, output: UnsafeMutablePointer<Float>,
    scratch: UnsafeMutablePointer<Float>, address: (Int) -> RandomAddress
  ) {
    let reciprocal = 1 / Float(columns)
    for row in 0..<rows {
      let z = x + row * columns
      if let bias { for j in 0..<columns { z[j] += bias[j] } }
      if let dropout, dropout.isActive { dropout.apply(to: z, count: columns, at: address(row), scratch: scratch) }
      if let residual {
        let residualRow = residual + row * columns
        for j in 0..<columns { z[j] += residualRow[j] }
      }
      let read = UnsafePointer(z)
      let mean = sum(count: columns, lanes: { read.lanes(at: $0) }, single: { read[$0] }) * reciprocal
      let squares = sum(
        count: columns,
        lanes: {
          let d = read.lanes(at: $0) - mean
          return d * d
        }, single: { (read[$0] - mean) * (read[$0] - mean) })
      let inverse = 1 / (squares * reciprocal + epsilon).squareRoot()
      inverseDeviation[row] = inverse
      let outputRow = output + row * columns
      for j in 0..<columns {
        let normalized = (z[j] - mean) * inverse
        z[j] = normalized
        outputRow[j] = normalized * gain[j] + shift[j]
      }
    }
  }

  /// The way back through the norm, the residual's sum, dropout and bias.
  ///
  /// - Parameters:
  ///   - normalized: x̂ `[rows, columns]`, as `forward` left it in `x`.
  ///   - gradient: dy `[rows, columns]`; overwritten with dz, the gradient of the residual.
  ///   - branch: `[rows, columns]`, overwritten with the gradient of x: dropout(dz); nil where there was neither bias nor
  ///     residual.
  ///   - sums: `[3, columns]`, overwritten with these rows' part of the gradients of gain, shift and bias.
  ///   - scratch: room for `columns` and `Dropout.padding`.
  ///   - address: as in `forward`.
  public func backward(
    rows: Int, normalized: UnsafePointer<Float>, inverseDeviation: UnsafePointer<Float>,
    gradient: UnsafeMutablePointer<Float>, branch: UnsafeMutablePointer<Float>?, dropout: Dropout?,
    sums: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>, address: (Int) -> RandomAddress
  ) {
    let reciprocal = 1 / Float(columns)
    let (gainSums, shiftSums, biasSums) = (sums, sums + columns, sums + 2 * columns)
    sums.update(repeating: 0, count: 3 * columns)
    for row in 0..<rows {
      let xHat = normalized + row * columns
      let dy = gradient + row * columns
      for j in 0..<columns {
        shiftSums[j] += dy[j]
        gainSums[j] += dy[j] * xHat[j]
        dy[j] *= gain[j]
      }
      let g = UnsafePointer(dy)
      let meanG = sum(count: columns, lanes: { g.lanes(at: $0) }, single: { g[$0] }) * reciprocal
      let meanGX =
        sum(
          count: columns, lanes: { g.lanes(at: $0) * xHat.lanes(at: $0) }, single: { g[$0] * xHat[$0] }) * reciprocal
      let inverse = inverseDeviation[row]
      for j in 0..<columns { dy[j] = (dy[j] - meanG - xHat[j] * meanGX) * inverse }
      guard let branch else { continue }
      let dx = branch + row * columns
      if let dropout, dropout.isActive {
        dropout.fill(scratch, count: columns, at: address(row))
        for j in 0..<columns { dx[j] = dy[j] * scratch[j] }
      } else {
        dx.update(from: dy, count: columns)
      }
      for j in 0..<columns { biasSums[j] += dx[j] }
    }
  }
}
