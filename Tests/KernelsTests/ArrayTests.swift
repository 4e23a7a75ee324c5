import Kernels
import TestSupport
import Testing

/// Products, sums, embeddings and AdamW.
struct ArrayTests {
  @Test("products of all transposes, modes and strides", arguments: [(1, 1, 1), (3, 5, 7), (17, 2, 33), (16, 16, 16)])
  func products(rows: Int, columns: Int, depth: Int) {
    BLAS.setThreads(1)
    var numbers = Numbers(UInt64(rows * 100 + columns))
    for (index, pad) in [0, 3].enumerated() {
      for (transposesA, transposesB) in [(false, false), (true, false), (false, true), (true, true)] {
        for mode in [OutputMode.overwrite, .add] {
          // Row strides beyond the width, so that a mixed-up stride shows.
          let aWidth = (transposesA ? rows : depth) + pad
          let bWidth = (transposesB ? depth : columns) + 2 * pad
          let a = numbers.floats((transposesA ? depth : rows) * aWidth)
          let b = numbers.floats((transposesB ? columns : depth) * bWidth)
          let outputStride = columns + pad
          let before = numbers.floats(rows * outputStride)
          var c = before
          a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
              let left = MatrixOperand(a.baseAddress!, rowStride: aWidth)
              let right = MatrixOperand(b.baseAddress!, rowStride: bWidth)
              matrixProduct(
                rows: rows, columns: columns, depth: depth, transposesA ? left.transposed : left,
                transposesB ? right.transposed : right, scale: 0.5, into: &c, outputStride: outputStride, mode)
            }
          }
          var expected = before.map(Double.init)
          for i in 0..<rows {
            for j in 0..<columns {
              var total = mode == .add ? Double(before[i * outputStride + j]) : 0
              for k in 0..<depth {
                let x = a[transposesA ? k * aWidth + i : i * aWidth + k]
                let y = b[transposesB ? j * bWidth + k : k * bWidth + j]
                total += 0.5 * Double(x) * Double(y)
              }
              expected[i * outputStride + j] = total
            }
          }
          let problem = worstDifference(
            "C", shape: [rows, outputStride], c.map(Double.init), expected, within: 1e-5)
          #expect(problem == nil, "case \(index), transposes \(transposesA) \(transposesB), \(mode)")
        }
      }
    }
  }

  @Test("an empty product touches nothing")
  func emptyProduct() {
    var c: [Float] = [1, 2]
    let x: [Float] = [3]
    x.withUnsafeBufferPointer { x in
      let operand = MatrixOperand(x.baseAddress!, rowStride: 1)
      matrixProduct(rows: 0, columns: 2, depth: 1, operand, operand, into: &c, outputStride: 2)
      matrixProduct(rows: 1, columns: 0, depth: 1, operand, operand, into: &c, outputStride: 2)
    }
    #expect(c == [1, 2])
  }

  @Test("column sums, overwriting and adding", arguments: [1, 3, 15, 16, 17, 33])
  func columnSum(columns: Int) {
    let rows = 7
    var numbers = Numbers(UInt64(columns))
    let x = numbers.floats(rows * columns)
    let sums = (0..<columns).map { j in (0..<rows).reduce(0.0) { $0 + Double(x[$1 * columns + j]) } }
    for (mode, start) in [(OutputMode.overwrite, 0.0), (.add, 5.0)] {
      var output = [Float](repeating: 5, count: columns) + [7]
      columnSums(rows: rows, columns: columns, x, into: &output, mode)
      #expect(output.removeLast() == 7)
      #expect(
        worstDifference("\(mode)", output.map(Double.init), sums.map { $0 + start }, within: 3e-6) == nil)
      // The first columns of each row alone.
      var part = [Float](repeating: 5, count: columns)
      columnSums(rows: rows, columns: columns - 1, x, rowStride: columns, into: &part, mode)
      #expect(part == output.dropLast() + [5])
    }
  }

  @Test("sums of squares at odd counts and large ones", arguments: [0, 1, 15, 16, 17, 4095, 4096, 4097, 1_000_003])
  func squares(count: Int) {
    var numbers = Numbers(UInt64(count))
    let x = numbers.floats(count)
    let expected = x.reduce(0.0) { $0 + Double($1) * Double($1) }
    #expect(relativeError(sumOfSquares(count: count, x), expected) < 1e-6)
  }

  @Test("a sum of very many equal squares keeps its digits where running sums in Float lose them")
  func manySquares() {
    // A lane's running sum of 2¹⁸ such squares is off by a part in a thousand.
    let count = 1 << 22
    let tenths = [Float](repeating: 0.1, count: count)
    let exact = Double(Float(0.1)) * Double(Float(0.1)) * Double(count)
    #expect(relativeError(sumOfSquares(count: count, tenths), exact) < 2e-5)
    let notFinite: [Float] = [1, .nan, 2]
    #expect(sumOfSquares(count: 3, notFinite).isNaN)
  }

  @Test("elementwise loops at odd counts", arguments: [0, 1, 3, 15, 16, 17, 33])
  func elementwise(count: Int) {
    var numbers = Numbers(UInt64(count) + 1)
    let x = numbers.floats(count) + [1]
    let y = numbers.floats(count) + [1]
    var sum = y
    add(count: count, x, to: &sum)
    #expect(sum == zip(x, y).map { $0 + $1 }.dropLast() + [1])
    var product = y
    multiply(count: count, x, y, into: &product)
    #expect(product == zip(x, y).map { $0 * $1 }.dropLast() + [1])
    var biased = x + x
    addBias(rows: 2, columns: count + 1, x: &biased, bias: y)
    #expect(biased == (x + x).indices.map { (x + x)[$0] + y[$0 % (count + 1)] })
    var firsts = x + x
    addBias(rows: 2, columns: count, x: &firsts, rowStride: count + 1, bias: y)
    #expect(firsts == (x + x).indices.map { (x + x)[$0] + ($0 % (count + 1) == count ? 0 : y[$0 % (count + 1)]) })
  }

  @Test("embeddings: three tables summed, gradients added per id, the padding's id skipped")
  func embeddings() {
    let words: [Float] = [1, 2, 3, 4, 5, 6, 7, 8]  // [4, 2]
    let positions: [Float] = [10, 20, 30, 40, 50, 60]  // [3, 2]
    let types: [Float] = [100, 200, 300, 400]  // [2, 2]
    let ids: [Int32] = [3, 0, 3]
    var output = [Float](repeating: .nan, count: 6)
    embed(
      tokens: 3, columns: 2, words: words, wordIDs: ids, positions: positions, positionIDs: [0, 1, 2], types: types,
      typeIDs: [0, 0, 1], into: &output)
    #expect(output == [117, 228, 131, 242, 357, 468])
    let gradient: [Float] = [1, 2, 4, 8, 16, 32]
    var table = [Float](repeating: 0.5, count: 8)
    embedBackward(tokens: 3, width: 2, 0..<2, ids: ids, gradient: gradient, into: &table)
    #expect(table == [4.5, 8.5, 0.5, 0.5, 0.5, 0.5, 17.5, 34.5])
    table = [Float](repeating: 0, count: 8)
    embedBackward(tokens: 3, width: 2, 0..<2, ids: ids, skippedID: 0, gradient: gradient, into: &table)
    #expect(table == [0, 0, 0, 0, 0, 0, 17, 34])
    table = [Float](repeating: 0, count: 8)
    embedBackward(tokens: 3, width: 2, 1..<2, ids: ids, gradient: gradient, into: &table)
    #expect(table == [0, 8, 0, 0, 0, 0, 0, 34])
  }

  /// Calls `body` with several buffers as gradients, whose sum counts.
  private func withSources(_ sources: [[Float]], _ body: ([UnsafePointer<Float>]) -> Double) -> Double {
    func open(_ pointers: [UnsafePointer<Float>]) -> Double {
      guard pointers.count < sources.count else { return body(pointers) }
      return sources[pointers.count].withUnsafeBufferPointer { open(pointers + [$0.baseAddress!]) }
    }
    return open([])
  }

  @Test(
    "AdamW follows torch's formula in double precision, on sums of gradients too", arguments: [1, 3, 17, 33, 2500],
    1...4)
  func adamW(count: Int, sources: Int) {
    var numbers = Numbers(UInt64(count))
    // The run lies inside a larger buffer, whose other elements must stay.
    let (before, after) = (5, 3)
    var parameters = numbers.floats(before + count + after)
    let start = parameters
    var m = [Float](repeating: 0, count: count)
    var v = m
    var exact = (p: parameters.map(Double.init), m: m.map(Double.init), v: v.map(Double.init))
    let (rate, decay, b1, b2, epsilon, clip) = (0.01, 0.1, 0.9, 0.999, 1e-6, 0.5)
    for step in 1...20 {
      let gradients = (0..<sources).map { _ in numbers.floats(parameters.count) }
      let update = AdamWStep(
        step: step, learningRate: rate, weightDecay: decay, beta1: b1, beta2: b2, epsilon: epsilon, gradientScale: clip)
      let squares = withSources(gradients) {
        update.apply(
          before..<before + count, parameters: &parameters, gradients: $0, firstMoments: &m, secondMoments: &v)
      }
      var expectedSquares = 0.0
      for i in 0..<count {
        let sum = gradients.reduce(0.0) { $0 + Double($1[before + i]) }
        expectedSquares += sum * sum
        let g = sum * clip
        exact.p[before + i] *= 1 - rate * decay
        exact.m[i] = b1 * exact.m[i] + (1 - b1) * g
        exact.v[i] = b2 * exact.v[i] + (1 - b2) * g * g
        let corrected = (exact.v[i] / (1 - power(b2, step))).squareRoot()
        exact.p[before + i] -= rate / (1 - power(b1, step)) * exact.m[i] / (corrected + epsilon)
      }
      #expect(relativeError(squares, expectedSquares) < 1e-5)
      let alone = withSources(gradients) { sumOfSquares(before..<before + count, ofSum: $0) }
      #expect(relativeError(alone, expectedSquares) < 1e-5)
    }
    #expect(worstDifference("parameters", parameters.map(Double.init), exact.p, within: 5e-6) == nil)
    #expect(worstDifference("first moments", m.map(Double.init), exact.m, within: 1e-6) == nil)
    #expect(worstDifference("second moments", v.map(Double.init), exact.v, within: 1e-6) == nil)
    #expect(parameters.prefix(before) == start.prefix(before) && parameters.suffix(after) == start.suffix(after))
  }

  private func power(_ base: Double, _ exponent: Int) -> Double {
    (0..<exponent).reduce(1) { result, _ in result * base }
  }

  @Test("AdamW's closed forms: the first step is the rate, decay alone is a power, late steps need no correction")
  func adamWClosedForms() {
    var p: [Float] = []
    var m: [Float] = []
    var v: [Float] = []
    func take(_ step: Int, _ gradients: [Float], decay: Double = 0, epsilon: Double = 0) {
      let update = AdamWStep(
        step: step, learningRate: 0.125, weightDecay: decay, beta1: 0.9, beta2: 0.999, epsilon: epsilon,
        gradientScale: 1)
      _ = withSources([gradients]) {
        update.apply(0..<p.count, parameters: &p, gradients: $0, firstMoments: &m, secondMoments: &v)
      }
    }
    (p, m, v) = ([1, 1, 1], [0, 0, 0], [0, 0, 0])
    take(1, [1e-3, -5, 1e3])
    #expect(worstDifference("first step", p, [0.875, 1.125, 0.875], within: 1e-6) == nil)

    (p, m, v) = ([1, -2, 4], [0, 0, 0], [0, 0, 0])
    for step in 1...10 { take(step, [0, 0, 0], decay: 0.5, epsilon: 1e-8) }
    let shrunk = Float(power(1 - 0.125 * 0.5, 10))
    #expect(worstDifference("decay alone", p, [shrunk, -2 * shrunk, 4 * shrunk], within: 1e-6) == nil)

    (p, m, v) = ([1], [3], [9])
    take(1_000_000, [3])
    #expect(abs(p[0] - 0.875) < 1e-6, "constant gradients: the rate again, \(p[0])")
  }
}
