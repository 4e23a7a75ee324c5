// GELU(x) = x · Φ(x), Φ(x) = ½ (1 + erf(x/√2)); GELU′(x) = Φ(x) + x · e^(-x²/2) / √(2π).
// Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415; the exact form, as transformers' "gelu".

private let inverseSqrt2: Float = 0.707_106_77
private let inverseSqrt2Pi: Float = 0.398_942_3

/// Adds `bias` to every row of `x` in place, and overwrites `output` with GELU of the sum.
///
/// - Parameters:
///   - x: `[rows, columns]`, kept for `geluBackward`.
///   - bias: `[columns]`.
///   - output: `[rows, columns]`.
public func biasGELU(
  rows: Int, columns: Int, x: UnsafeMutablePointer<Float>, bias: UnsafePointer<Float>,
  into output: UnsafeMutablePointer<Float>
) {
  for row in 0..<rows {
    let xRow = x + row * columns
    let outputRow = output + row * columns
    for j in 0..<columns {
      let value = xRow[j] + bias[j]
      xRow[j] = value
      outputRow[j] = 0.5 * value * (1 + errorFunction(value * inverseSqrt2))
    }
  }
}

/// Multiplies `gradient` in place by GELU′(x), so that the gradient of the output becomes that of x.
///
/// - Parameters:
///   - x: `[rows × columns]`, as `biasGELU` left it.
///   - gradient: as long.
public func geluBackward(count: Int, x: UnsafePointer<Float>, gradient: UnsafeMutablePointer<Float>) {
  for i in 0..<count {
    let value = x[i]
    let cumulative = 0.5 * (1 + errorFunction(value * inverseSqrt2))
    let density = inverseSqrt2Pi * exponential(-0.5 * value * value)
    gradient[i] *= cumulative + value * density
  }
}
