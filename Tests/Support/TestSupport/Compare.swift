import Glibc

/// Compares elementwise; nil where every element is within `tolerance` (absolute), else the worst element in words:
/// `query.weight[17, 3]: 0.0213, expected 0.0219`. What is not a number is never within.
package func worstDifference(
  _ name: String, shape: [Int]? = nil, _ values: some Collection<Float>, _ expected: some Collection<Float>,
  within tolerance: Double
) -> String? {
  worstDifference(name, shape: shape, values.map(Double.init), expected.map(Double.init), within: tolerance)
}

package func worstDifference(
  _ name: String, shape: [Int]? = nil, _ values: [Double], _ expected: [Double], within tolerance: Double
) -> String? {
  guard values.count == expected.count else { return "\(name): \(values.count) elements, expected \(expected.count)" }
  var worst: (index: Int, size: Double)?
  for index in values.indices {
    let difference = abs(values[index] - expected[index])
    guard !(difference <= tolerance) else { continue }
    let size = difference.isNaN ? Double.infinity : difference
    if worst == nil || size > worst!.size { worst = (index, size) }
  }
  guard let worst else { return nil }
  return "\(elementName(name, shape ?? [values.count], worst.index)): \(values[worst.index]), "
    + "expected \(expected[worst.index]) within \(tolerance)"
}

/// `query.weight[17, 3]` for element `index` of a row-major tensor.
package func elementName(_ name: String, _ shape: [Int], _ index: Int) -> String {
  var rest = index
  var places: [Int] = []
  for size in shape.reversed() {
    places.insert(rest % max(size, 1), at: 0)
    rest /= max(size, 1)
  }
  return "\(name)\(places)"
}

/// |value - expected| as a share of |expected|.
package func relativeError(_ value: Double, _ expected: Double) -> Double {
  let error = abs(value - expected) / max(abs(expected), 1e-300)
  return value == expected ? 0 : error.isNaN ? .infinity : error
}

/// Distance in units of the last place of the nearest Float to `expected`.
package func ulps(_ value: Float, _ expected: Double) -> Double {
  let size = max(Double(Float(expected).ulp), Double(Float.leastNormalMagnitude.ulp))
  let error = abs(Double(value) - expected) / size
  return error.isNaN ? .infinity : error
}

/// A generator whose numbers are the same everywhere: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
package struct Numbers: RandomNumberGenerator {
  private var state: UInt64

  package init(_ seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  /// `count` numbers in `range`.
  package mutating func floats(_ count: Int, in range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in Float.random(in: range, using: &self) }
  }
}

/// The seconds of computing that `body` takes in this process: on a busy machine a clock on the wall counts others'.
package func computingSeconds(_ body: () throws -> Void) rethrows -> Double {
  let begin = clock()
  try body()
  return Double(clock() - begin) / Double(CLOCKS_PER_SEC)
}
