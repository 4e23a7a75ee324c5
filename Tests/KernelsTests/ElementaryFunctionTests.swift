import CPU
import Glibc
import Kernels
import TestSupport
import Testing

/// exp, erf, ln and the two trigonometric polynomials against libm in double precision.
struct ElementaryFunctionTests {
  /// Every `step`-th Float from `low` to `high`, both positive.
  private func floats(from low: Float, to high: Float, step: UInt32) -> StrideThrough<UInt32> {
    stride(from: low.bitPattern, through: high.bitPattern, by: Int(step))
  }

  /// The largest error over a sweep and where it is.
  private func worst(
    _ bits: some Sequence<UInt32>, signs: [Float] = [1], _ value: (Float) -> Float, _ expected: (Double) -> Double
  ) -> (error: Double, x: Float) {
    var worst = (error: 0.0, x: Float(0))
    for bits in bits {
      for sign in signs {
        let x = sign * Float(bitPattern: bits)
        let error = ulps(value(x), expected(Double(x)))
        if error > worst.error { worst = (error, x) }
      }
    }
    return worst
  }

  @Test("exp errs by at most 1.5 ulp")
  func exponentialError() {
    let found = worst(floats(from: 1e-30, to: 87.3, step: 997), signs: [1, -1], exponential, exp)
    #expect(found.error <= 1.5, "exp(\(found.x)) is off by \(found.error) ulp")
    #expect(exponential(0) == 1 && exponential(-0.0) == 1)
    #expect(ulps(exponential(88.7), exp(Double(Float(88.7)))) <= 1.5)
  }

  @Test("exp of what is far below 0 is 0, of what is far above is finite")
  func exponentialEnds() {
    for x: Float in [-87.4, -100, -1e10, -.greatestFiniteMagnitude, -.infinity] { #expect(exponential(x) == 0) }
    for x: Float in [89, 1000, .infinity] { #expect(exponential(x) == exponential(88.7)) }
  }

  @Test("erf errs by at most 3 ulp, is odd and ends at 1")
  func errorFunctionError() {
    let found = worst(floats(from: 1e-30, to: 6, step: 499), signs: [1, -1], errorFunction, erf)
    #expect(found.error <= 3, "erf(\(found.x)) is off by \(found.error) ulp")
    #expect(errorFunction(0) == 0)
    for x: Float in [4.2, 10, 1e10, .infinity] { #expect(errorFunction(x) == 1 && errorFunction(-x) == -1) }
  }

  @Test("ln errs by at most 1.5e-7, or so much of itself")
  func logarithmError() {
    var worst = (error: 0.0, x: Float(0))
    for bits in floats(from: .leastNormalMagnitude, to: 1e30, step: 1999) {
      let x = Float(bitPattern: bits)
      let expected = log(Double(x))
      let error = abs(Double(naturalLogarithm(x)) - expected) / max(1, abs(expected))
      if error > worst.error { worst = (error, x) }
    }
    #expect(worst.error <= 1.5e-7, "ln \(worst.x) is off by \(worst.error)")
  }

  @Test("cosine and sine of a turn err by at most 6e-7")
  func turns() {
    var worst = (error: 0.0, x: Float(0))
    for index in -4096...4096 {
      let x = Float(index) / 8192
      let angle = 2 * Double.pi * Double(x)
      let error = max(
        abs(Double(cosineOfTurn(x * x)) - cos(angle)), abs(Double(x * sineOfTurnOverTurn(x * x)) - sin(angle)))
      if error > worst.error { worst = (error, x) }
    }
    #expect(worst.error <= 6e-7, "a turn of \(worst.x) is off by \(worst.error)")
  }

  @Test("GELU and its derivative against double precision")
  func gelu() {
    let count = 4001
    let points = (0..<count).map { Float($0 - 2000) / 250 }  // -8 … 8
    var x = points.map { $0 - 0.25 }
    var output = [Float](repeating: .nan, count: count)
    let bias = [Float](repeating: 0.25, count: count)
    biasGELU(rows: 1, columns: count, x: &x, bias: bias, into: &output, keepsSlopes: true)
    let phi = points.map { 0.5 * erfc(-Double($0) / 2.0.squareRoot()) }
    let expected = zip(points, phi).map { Double($0) * $1 }
    let slopes = zip(points, phi).map { x, phi in
      phi + Double(x) * exp(-Double(x) * Double(x) / 2) / (2 * Double.pi).squareRoot()
    }
    // GELU cancels for large negative x, so the error is absolute there.
    #expect(worstDifference("GELU", output.map(Double.init), expected, within: 1e-6) == nil)
    #expect(worstDifference("GELU′", x.map(Double.init), slopes, within: 1e-6) == nil)
    var again = points.map { $0 - 0.25 }
    biasGELU(rows: 1, columns: count, x: &again, bias: bias, into: &x, keepsSlopes: false)
    #expect(x == output)
  }

  @Test("an activation's way back: the product with its slopes, and the sums of columns", arguments: [1, 3, 16, 33])
  func geluBackward(columns: Int) {
    let rows = 3
    var numbers = Numbers(UInt64(columns))
    let slopes = numbers.floats(rows * columns)
    let upstream = numbers.floats(rows * columns)
    var gradient = upstream + [7]
    var sums = [Float](repeating: .nan, count: columns) + [7]
    biasActivationBackward(rows: rows, columns: columns, slopes: slopes, gradient: &gradient, sums: &sums)
    let products = zip(slopes, upstream).map { $0 * $1 }
    #expect(gradient == products + [7])
    let expected = (0..<columns).map { products[$0] + products[columns + $0] + products[2 * columns + $0] }
    #expect(sums == expected + [7])
  }

  @Test("this CPU can run what was compiled for it")
  func features() {
    #expect(CPU.lacks(compiledCPUFeatures()).isEmpty)
    #expect(CPU.lacks(0).isEmpty)
    #expect(CPU.features.contains("avx2") || !CPU.features.isEmpty)
  }
}
