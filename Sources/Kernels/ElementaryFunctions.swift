// exp, erf and tanh for loops that the compiler turns into SIMD: no branches, no tables, no calls.
// The coefficients come from Tests/KernelsTests/fit_polynomials.py; the tests state the errors in ulp.

/// eˣ, at most 1.5 ulp from the true value for -87.3 ≤ x ≤ 88.7; 0 below, and above it the value at 88.7.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2 (Cody and Waite, two-part ln 2); eˣ = 2ⁿ · (1 + r + r²·P(r)).
@inline(__always)
package func exponential(_ x: Float) -> Float {
  let clamped = max(min(x, 88.7), -87.3)
  // Adding 1.5·2²³ rounds to an integer in the low bits.
  let shifted = Float(12_582_912).addingProduct(clamped, 1.442_695_1)
  let n = shifted - 12_582_912
  let r = clamped.addingProduct(n, -0.693_145_75).addingProduct(n, -1.428_606_8e-6)
  var p: Float = 0.001_381_460_5
  p = Float(0.008_368_711).addingProduct(p, r)
  p = Float(0.041_668_389).addingProduct(p, r)
  p = Float(0.166_665_21).addingProduct(p, r)
  p = Float(0.499_999_94).addingProduct(p, r)
  let mantissa = (1 + r).addingProduct(p, r * r)
  let power = Int32(bitPattern: shifted.bitPattern) &- 0x4B40_0000
  let result = Float(bitPattern: UInt32(bitPattern: Int32(bitPattern: mantissa.bitPattern) &+ (power &<< 23)))
  return x < -87.3 ? 0 : result
}

/// erf(x) = 2/√π ∫₀ˣ e^(-t²) dt, at most 3 ulp from the true value.
///
/// |x| ≤ 1: x·P(x²). Beyond: 1 - exp(-|x|·Q(|x|)), with |x| held at 4.1, where erf is 1 in Float.
@inline(__always)
package func errorFunction(_ x: Float) -> Float {
  let s = x * x
  var p: Float = 7.853_847e-5
  p = Float(-0.000_801_018_9).addingProduct(p, s)
  p = Float(0.005_188_328_3).addingProduct(p, s)
  p = Float(-0.026_853_81).addingProduct(p, s)
  p = Float(0.112_835_854).addingProduct(p, s)
  p = Float(-0.376_126_26).addingProduct(p, s)
  p = Float(1.128_379_1).addingProduct(p, s)
  let small = x * p

  let t = min(abs(x), 4.1)
  var q: Float = 3.556_893e-6
  q = Float(-2.843_394_8e-5).addingProduct(q, t)
  q = Float(-0.000_138_757_1).addingProduct(q, t)
  q = Float(0.003_182_036_6).addingProduct(q, t)
  q = Float(-0.023_091_678).addingProduct(q, t)
  q = Float(0.105_669_096).addingProduct(q, t)
  q = Float(0.635_410_13).addingProduct(q, t)
  q = Float(1.128_599_64).addingProduct(q, t)
  let tail = 1 - exponential(-t * q)
  let large = Float(bitPattern: tail.bitPattern | (x.bitPattern & 0x8000_0000))
  return abs(x) <= 1 ? small : large
}

/// tanh x, at most 3 ulp from the true value.
///
/// |x| ≤ 0.625: x + x³·P(x²). Beyond: 1 - 2 / (e^(2|x|) + 1), with |x| held at 10, where tanh is 1 in Float.
@inline(__always)
package func hyperbolicTangent(_ x: Float) -> Float {
  let s = x * x
  var p: Float = -0.005_704_953
  p = Float(0.020_639_054).addingProduct(p, s)
  p = Float(-0.053_739_704).addingProduct(p, s)
  p = Float(0.133_314_42).addingProduct(p, s)
  p = Float(-0.333_332_8).addingProduct(p, s)
  let small = x.addingProduct(x * s, p)

  let tail = 1 - 2 / (exponential(2 * min(abs(x), 10)) + 1)
  let large = Float(bitPattern: tail.bitPattern | (x.bitPattern & 0x8000_0000))
  return abs(x) <= 0.625 ? small : large
}

/// 1 / (1 + e⁻ˣ), at most 3 ulp from the true value for x ≥ -87.
@inline(__always)
package func logistic(_ x: Float) -> Float { 1 / (1 + exponential(-x)) }

/// ln x for normal x > 0, about 1e-7 from the true value or 1e-7 of it: for initialization, where only the
/// distribution matters.
///
/// x = 2ⁿ · (1 + t) with 0.75 ≤ 1 + t < 1.5; ln x = n · ln 2 + t · P(t).
@inline(__always)
package func naturalLogarithm(_ x: Float) -> Float {
  let bits = Int32(bitPattern: x.bitPattern)
  let exponent = (bits &- 0x3F40_0000) & Int32(bitPattern: 0xFF80_0000)
  let t = Float(bitPattern: UInt32(bitPattern: bits &- exponent)) - 1
  var p: Float = 0.051_600_177
  p = Float(-0.119_149_596).addingProduct(p, t)
  p = Float(0.150_496_71).addingProduct(p, t)
  p = Float(-0.168_687_67).addingProduct(p, t)
  p = Float(0.199_739_52).addingProduct(p, t)
  p = Float(-0.249_900_13).addingProduct(p, t)
  p = Float(0.333_335_82).addingProduct(p, t)
  p = Float(-0.500_001_3).addingProduct(p, t)
  p = Float(1).addingProduct(p, t)
  return (t * p).addingProduct(Float(exponent >> 23), 0.693_147_2)
}

/// cos 2πx from s = x², |x| ≤ ½.
@inline(__always)
package func cosineOfTurn(_ s: Float) -> Float {
  var p: Float = -1.453_234_8
  p = Float(7.800_238_6).addingProduct(p, s)
  p = Float(-26.404_705).addingProduct(p, s)
  p = Float(60.242_138).addingProduct(p, s)
  p = Float(-85.456_657).addingProduct(p, s)
  p = Float(64.939_392).addingProduct(p, s)
  p = Float(-19.739_209).addingProduct(p, s)
  return Float(1).addingProduct(p, s)
}

/// sin 2πx / x from s = x², |x| ≤ ½.
@inline(__always)
package func sineOfTurnOverTurn(_ s: Float) -> Float {
  var p: Float = 3.199_693
  p = Float(-14.868_61).addingProduct(p, s)
  p = Float(42.016_167).addingProduct(p, s)
  p = Float(-76.701_553).addingProduct(p, s)
  p = Float(81.605_025).addingProduct(p, s)
  p = Float(-41.341_698).addingProduct(p, s)
  return Float(6.283_185_5).addingProduct(p, s)
}
