import Glibc
import Kernels
import TestSupport
import Testing

/// Activations and their slopes against double precision.
struct ActivationTests {
  private static func value(_ activation: Activation, _ x: Double) -> Double {
    func logistic(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
    return switch activation {
    case .gelu: x * 0.5 * erfc(-x / 2.0.squareRoot())
    case .geluTanh: 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    case .quickGELU: x * logistic(1.702 * x)
    case .relu: max(x, 0)
    case .relu2: max(x, 0) * max(x, 0)
    case .relu6: min(max(x, 0), 6)
    case .leakyReLU: x > 0 ? x : 0.01 * x
    case .silu: x * logistic(x)
    case .mish: x * tanh(log1p(exp(x)))
    case .tanh: tanh(x)
    case .sigmoid: logistic(x)
    }
  }

  @Test("values and slopes are those of the formula", arguments: Activation.allCases)
  func formula(activation: Activation) {
    let count = 4001
    // -10 … 10, never on a kink.
    let points = (0..<count).map { Float($0 - 2000) / 200 + 0.001 }
    var x = points.map { $0 - 0.25 }
    var output = [Float](repeating: .nan, count: count)
    let bias = [Float](repeating: 0.25, count: count)
    biasActivation(activation, rows: 1, columns: count, x: &x, bias: bias, into: &output, keepsSlopes: true)
    let sums = points.map { Double(($0 - 0.25) + 0.25) }
    let step = 1e-5
    let slopes = sums.map { (Self.value(activation, $0 + step) - Self.value(activation, $0 - step)) / (2 * step) }
    for (index, sum) in sums.enumerated() {
      let expected = Self.value(activation, sum)
      // What cancels far below 0 errs absolutely.
      #expect(abs(Double(output[index]) - expected) <= 1e-6 * max(1, abs(expected)), "f(\(sum))")
      #expect(abs(Double(x[index]) - slopes[index]) <= 2e-6 * max(1, abs(slopes[index])), "f′(\(sum))")
    }
    var again = points.map { $0 - 0.25 }
    biasActivation(activation, rows: 1, columns: count, x: &again, bias: bias, into: &x, keepsSlopes: false)
    #expect(x == output)
  }

  @Test("far from 0 values and slopes are finite", arguments: Activation.allCases)
  func ends(activation: Activation) {
    let points: [Float] = [-1e6, -1000, -100, -88, 88, 100, 1000, 1e6]
    var x = points
    var output = [Float](repeating: .nan, count: x.count)
    let bias = [Float](repeating: 0, count: x.count)
    biasActivation(activation, rows: 1, columns: x.count, x: &x, bias: bias, into: &output, keepsSlopes: true)
    for (index, point) in points.enumerated() {
      let expected = Self.value(activation, Double(point))
      #expect(abs(Double(output[index]) - expected) <= 1e-6 * max(1, abs(expected)), "f(\(point))")
      #expect(x[index].isFinite, "f′(\(point))")
    }
  }

  @Test("a row has its own bias, and each row is computed")
  func rows() {
    let (rows, columns) = (3, 17)
    var numbers = Numbers(4)
    let source = numbers.floats(rows * columns)
    let bias = numbers.floats(columns)
    var x = source + [7]
    var output = [Float](repeating: .nan, count: rows * columns) + [7]
    biasActivation(.relu, rows: rows, columns: columns, x: &x, bias: bias, into: &output, keepsSlopes: true)
    #expect(output == source.indices.map { max(0, source[$0] + bias[$0 % columns]) } + [7])
    #expect(x == source.indices.map { source[$0] + bias[$0 % columns] > 0 ? 1 : 0 } + [7])
  }

  @Test("tanh errs by at most 3 ulp and is odd; the logistic function errs by 3")
  func elementaryFunctions() {
    for bits in stride(from: Float(1e-20).bitPattern, through: Float(12).bitPattern, by: 499) {
      let x = Float(bitPattern: bits)
      let error = max(
        ulps(hyperbolicTangent(x), tanh(Double(x))), ulps(logistic(x), 1 / (1 + exp(-Double(x)))),
        ulps(logistic(-x), 1 / (1 + exp(Double(x)))))
      guard error <= 3, hyperbolicTangent(-x) == -hyperbolicTangent(x) else {
        Issue.record("at \(x): \(error) ulp")
        return
      }
    }
    #expect(hyperbolicTangent(0) == 0 && hyperbolicTangent(.infinity) == 1 && logistic(-1000) < 1e-30)
  }
}
