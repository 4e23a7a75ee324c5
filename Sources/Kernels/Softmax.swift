// pⱼ = e^(sⱼ - max s) / Σ e^(s - max s). Backward, with dp the gradient of p: ds = p · (dp - Σ dp · p).

/// Overwrites every row of `x` `[rows, columns]` with its softmax.
///
/// - Parameter rowStride: between rows of `x`; what lies between a row's end and the next is overwritten with zeros. Nil
///   where there is nothing.
public func softmaxRows(rows: Int, columns: Int, x: UnsafeMutablePointer<Float>, rowStride: Int? = nil) {
  let width = rowStride ?? columns
  for row in 0..<rows {
    let xRow = x + row * width
    // e^-∞ is 0, and vectors need not stop at the row's end.
    for j in columns..<width { xRow[j] = -.infinity }
    let read = UnsafePointer(xRow)
    let maximum = rowMaximum(read, count: width)
    for j in 0..<width { xRow[j] = exponential(xRow[j] - maximum) }
    let inverse = 1 / sum(count: width, lanes: { read.lanes(at: $0) }, single: { read[$0] })
    for j in 0..<width { xRow[j] *= inverse }
  }
}

/// Overwrites the gradient of the probabilities in `gradient` with that of the scores.
///
/// - Parameters:
///   - probabilities: p `[rows, columns]`.
///   - gradient: dp `[rows, columns]`, overwritten with ds.
public func softmaxBackward(
  rows: Int, columns: Int, probabilities: UnsafePointer<Float>, gradient: UnsafeMutablePointer<Float>
) {
  for row in 0..<rows {
    let p = probabilities + row * columns
    let dp = gradient + row * columns
    let read = UnsafePointer(dp)
    let dot = sum(count: columns, lanes: { read.lanes(at: $0) * p.lanes(at: $0) }, single: { read[$0] * p[$0] })
    for j in 0..<columns { dp[j] = p[j] * (dp[j] - dot) }
  }
}

@inline(__always)
private func rowMaximum(_ x: UnsafePointer<Float>, count: Int) -> Float {
  var partial = SIMD16<Float>(repeating: -.infinity)
  var i = 0
  while i + 16 <= count {
    let next = x.lanes(at: i)
    partial.replace(with: next, where: next .> partial)
    i += 16
  }
  var maximum = partial.max()
  while i < count {
    maximum = x[i] > maximum ? x[i] : maximum
    i += 1
  }
  return maximum
}
