import Glibc
import Kernels
import Testing

private let units = InstructionSet.available

private struct Shape: Sendable, CustomTestStringConvertible {
  var rows: Int
  var columns: Int
  var depth: Int
  var testDescription: String { "\(rows) x \(columns) x \(depth)" }
}

private struct Matrix {
  var numbers: [Float]
  var stride: Int
  var isTransposed = false

  func withOperand<Result>(_ body: (MatrixOperand) -> Result) -> Result {
    numbers.withUnsafeBufferPointer { buffer in
      let operand = MatrixOperand(buffer.baseAddress!, rowStride: stride)
      return body(isTransposed ? operand.transposed : operand)
    }
  }
}

extension TileGEMM {
  fileprivate func multiply(
    parts: Int, _ shape: Shape, _ a: Matrix, _ b: Matrix, into output: inout [Float], stride: Int,
    _ mode: OutputMode = .overwrite
  ) {
    a.withOperand { left in
      b.withOperand { right in
        multiply(
          parts: parts, rows: shape.rows, columns: shape.columns, depth: shape.depth, left, right, into: &output,
          outputStride: stride, mode)
      }
    }
  }
}

@Suite(.enabled(if: !units.isEmpty, "this CPU has no AVX2"))
struct TileTests {
  /// The most that a sum of products may be off, of the sum of their magnitudes: rounding of the parts, and of the
  /// sums in fp32.
  private static let bounds: [Int: Double] = [0: 0x1p-19, 1: 0x1p-7, 2: 0x1p-15, 3: 0x1p-19]

  private static let shapes = [
    Shape(rows: 1, columns: 1, depth: 1), Shape(rows: 16, columns: 16, depth: 32),
    Shape(rows: 37, columns: 45, depth: 70), Shape(rows: 33, columns: 2, depth: 17),
    Shape(rows: 20, columns: 300, depth: 1100), Shape(rows: 600, columns: 150, depth: 48),
    Shape(rows: 530, columns: 130, depth: 700),
  ]

  @Test("products of every shape and layout are those in double precision", arguments: units, shapes)
  private func products(unit: InstructionSet, shape: Shape) throws {
    let gemm = TileGEMM(unit)
    let (rows, columns, depth) = (shape.rows, shape.columns, shape.depth)
    var random = SystemRandomNumberGenerator()
    func numbers(_ count: Int) -> [Float] {
      (0..<count).map { _ in Float.random(in: -1...1, using: &random) * Float(exp2(Double(Int.random(in: -6...6)))) }
    }
    for layout in 0..<4 {
      let (aTransposed, bTransposed) = (layout & 1 == 1, layout & 2 == 2)
      // Rows are longer than they need to be, so that a wrong stride shows.
      let aStride = (aTransposed ? rows : depth) + 3
      let bStride = (bTransposed ? depth : columns) + 5
      let outputStride = columns + 7
      let a = numbers((aTransposed ? depth : rows) * aStride)
      let b = numbers((bTransposed ? columns : depth) * bStride)
      let before = numbers(rows * outputStride)
      for (parts, bound) in Self.bounds where unit.parts.contains(parts) {
        for mode in [OutputMode.overwrite, .add] {
          var output = before
          gemm.multiply(
            parts: parts, shape, Matrix(numbers: a, stride: aStride, isTransposed: aTransposed),
            Matrix(numbers: b, stride: bStride, isTransposed: bTransposed), into: &output, stride: outputStride, mode)
          var worst = 0.0
          for row in 0..<rows {
            for column in 0..<outputStride {
              let place = row * outputStride + column
              guard column < columns else {
                try #require(output[place] == before[place], "a number behind row \(row) was overwritten")
                continue
              }
              // All of a small product, a sample of a large one.
              if rows * columns > 4000 && (row * 31 + column * 17) % 97 != 0 { continue }
              var sum = mode == .add ? Double(before[place]) : 0
              var magnitude = abs(sum)
              for k in 0..<depth {
                let x = a[aTransposed ? k * aStride + row : row * aStride + k]
                let y = b[bTransposed ? column * bStride + k : k * bStride + column]
                sum += Double(x) * Double(y)
                magnitude += abs(Double(x) * Double(y))
              }
              worst = max(worst, abs(Double(output[place]) - sum) / magnitude)
            }
          }
          #expect(
            worst <= bound, "\(parts) parts, layout \(layout), \(mode): off by \(worst) of the sum of magnitudes")
        }
      }
    }
  }

  @Test("what is not a finite number stays so", arguments: units, [Float.nan, .infinity, -.infinity])
  func notFinite(unit: InstructionSet, value: Float) {
    let gemm = TileGEMM(unit)
    for parts in unit.parts {
      var a = [Float](repeating: 1, count: 32 * 32)
      a[5 * 32 + 9] = value
      let b = [Float](repeating: 1, count: 32 * 32)
      var output = [Float](repeating: 0, count: 32 * 32)
      gemm.multiply(
        parts: parts, Shape(rows: 32, columns: 32, depth: 32), Matrix(numbers: a, stride: 32),
        Matrix(numbers: b, stride: 32), into: &output, stride: 32)
      for row in 0..<32 {
        for column in 0..<32 { #expect(output[row * 32 + column].isFinite == (row != 5)) }
      }
    }
  }

  @Test(
    "all units take the same parts: their sums differ by rounding alone",
    .enabled(if: units.count > 1, "this CPU multiplies in one way only"))
  func unitsAgree() throws {
    let (rows, columns, depth) = (48, 48, 96)
    let a = (0..<rows * depth).map { Float(($0 * 7919) % 1013) / 1013 - 0.5 }
    let b = (0..<columns * depth).map { Float(($0 * 104_729) % 997) / 997 - 0.5 }
    for parts in 0...3 {
      let results = units.filter { $0.parts.contains(parts) }.map { unit in
        var output = [Float](repeating: 0, count: rows * columns)
        TileGEMM(unit).multiply(
          parts: parts, Shape(rows: rows, columns: columns, depth: depth), Matrix(numbers: a, stride: depth),
          Matrix(numbers: b, stride: columns), into: &output, stride: columns)
        return output
      }
      for other in results.dropFirst() {
        for (x, y) in zip(results[0], other) { #expect(abs(x - y) <= 4e-6, "\(parts) parts") }
      }
    }
  }

  /// The product of two numbers.
  private func product(_ unit: InstructionSet, parts: Int, _ x: Float, _ y: Float) -> Float {
    var output: [Float] = [0]
    TileGEMM(unit).multiply(
      parts: parts, Shape(rows: 1, columns: 1, depth: 1), Matrix(numbers: [x], stride: 1),
      Matrix(numbers: [y], stride: 1), into: &output, stride: 1)
    return output[0]
  }

  @Test("two parts keep 16 bits, three all 24: a product of two numbers shows it", arguments: units)
  func partsKeepBits(unit: InstructionSet) {
    // 1 + 2⁻¹⁵ needs two parts, the other number three.
    let long: Float = 1 + 0x1p-10 + 0x1p-20 + 0x1p-23
    let expected: [[Float]] = [
      [1 + 0x1p-15, long], [1, 1], [1 + 0x1p-15, 1 + 0x1p-10], [1 + 0x1p-15, long],
    ]
    for parts in unit.parts {
      #expect(product(unit, parts: parts, 1 + 0x1p-15, 1) == expected[parts][0])
      #expect(product(unit, parts: parts, long, 1) == expected[parts][1])
    }
  }

  @Test("one part is the nearest bf16 number, of two as near the even one", arguments: units)
  func nearest(unit: InstructionSet) {
    // Spacing at 1 is 2⁻⁷.
    let cases: [(Float, Float)] = [
      (1 + 0x1p-8, 1), (1 + 3 * 0x1p-8, 1 + 0x1p-6), (1 + 0x1p-8 + 0x1p-20, 1 + 0x1p-7), (1 + 0x1p-7, 1 + 0x1p-7),
      (2 - 0x1p-9, 2), (0x1p-126, 0x1p-126), (0, 0),
    ]
    for (number, rounded) in cases {
      for sign: Float in [1, -1] {
        #expect(product(unit, parts: 1, sign * number, 1) == sign * rounded)
        #expect(product(unit, parts: 1, 1, sign * number) == sign * rounded)
      }
    }
    #expect(product(unit, parts: 1, .greatestFiniteMagnitude, 1) == .infinity)
  }
}
