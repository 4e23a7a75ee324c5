// GELU(x) = x · Φ(x), Φ(x) = ½ (1 + erf(x/√2)); GELU′(x) = Φ(x) + x · e^(-x²/2) / √(2π).
// Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415; the exact form, as transformers' "gelu".

private let inverseSqrt2: Float = 0.707_106_77
private let inverseSqrt2Pi: Float = 0.398_942_3

/// Overwrites `output` with GELU(x + bias), and x with GELU′(x + bias) where backward will need it: both share the error
/// function, and backward is left with a product.
///
/// - Parameters:
///   - x: `[rows, columns]`; where slopes are not kept, what it holds afterwards means nothing.
///   - bias: `[columns]`.
///   - output: `[rows, columns]`.
public func biasGELU(
  rows: Int, columns: Int, x: UnsafeMutablePointer<Float>, bias: UnsafePointer<Float>,
  into output: UnsafeMutablePointer<Float>, keepsSlopes: Bool
) {
  for row in 0..<rows {
    let xRow = x + row * columns
    let outputRow = output + row * columns
    if keepsSlopes {
      for j in 0..<columns {
        let value = xRow[j] + bias[j]
        let cumulative = 0.5 * (1 + errorFunction(value * inverseSqrt2))
        let density = inverseSqrt2Pi * exponential(-0.5 * value * value)
        xRow[j] = cumulative + value * density
        outputRow[j] = value * cumulative
      }
    } else {
      for j in 0..<columns {
        let value = xRow[j] + bias[j]
        outputRow[j] = value * (0.5 * (1 + errorFunction(value * inverseSqrt2)))
      }
    }
  }
}
