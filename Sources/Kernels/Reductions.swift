// Sums. A float sum keeps 16 partial sums, so that it runs in SIMD and errs less than one running sum.

extension UnsafePointer<Float> {
  /// Sixteen neighbours from `index` on, whatever their alignment.
  @inline(__always)
  func lanes(at index: Int) -> SIMD16<Float> {
    UnsafeRawPointer(self + index).loadUnaligned(as: SIMD16<Float>.self)
  }
}

/// Σ term(i) over 0 ..< count, where `term` gives sixteen terms at once, or one for the rest.
@inline(__always)
func sum(count: Int, lanes: (Int) -> SIMD16<Float>, single: (Int) -> Float) -> Float {
  var partial = SIMD16<Float>()
  var i = 0
  while i + 16 <= count {
    partial += lanes(i)
    i += 16
  }
  var total = partial.sum()
  while i < count {
    total += single(i)
    i += 1
  }
  return total
}

/// Σ xᵢ², with float sums over blocks and a double over the blocks.
public func sumOfSquares(count: Int, _ x: UnsafePointer<Float>) -> Double {
  let blockCount = 4096
  var total = 0.0
  var start = 0
  while start < count {
    let base = x + start
    total += Double(
      sum(
        count: min(blockCount, count - start), lanes: { base.lanes(at: $0) * base.lanes(at: $0) },
        single: { base[$0] * base[$0] }))
    start += blockCount
  }
  return total
}

/// Sums the columns of `x`, into `output` or on top of it: the gradient of a bias.
///
/// - Parameters:
///   - x: `[rows, columns]`, rows `rowStride` apart; nil where there is nothing between them.
///   - output: `[columns]`.
public func columnSums(
  rows: Int, columns: Int, _ x: UnsafePointer<Float>, rowStride: Int? = nil, into output: UnsafeMutablePointer<Float>,
  _ mode: OutputMode
) {
  if mode == .overwrite { output.update(repeating: 0, count: columns) }
  for row in 0..<rows {
    let xRow = x + row * (rowStride ?? columns)
    for j in 0..<columns { output[j] += xRow[j] }
  }
}

/// output += x, elementwise.
public func add(count: Int, _ x: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>) {
  for i in 0..<count { output[i] += x[i] }
}

/// output = x + y, elementwise; `output` may be one of them.
public func add(
  count: Int, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>
) {
  for i in 0..<count { output[i] = x[i] + y[i] }
}

/// Adds `bias` (`[columns]`) to every row of `x` (`[rows, columns]`), in place.
///
/// - Parameter rowStride: between rows of `x`; nil where there is nothing between them.
public func addBias(
  rows: Int, columns: Int, x: UnsafeMutablePointer<Float>, rowStride: Int? = nil, bias: UnsafePointer<Float>
) {
  for row in 0..<rows {
    let xRow = x + row * (rowStride ?? columns)
    for j in 0..<columns { xRow[j] += bias[j] }
  }
}
