import Glibc
import Kernels
import TestSupport
import Testing

/// Layer norm, softmax and what stands around them, against plain loops in double precision at odd sizes.
struct NormAndSoftmaxTests {
  static let sizes = [1, 2, 3, 15, 16, 17, 31, 33, 100]

  /// What a layer norm's forward and backward should give.
  private struct Norm {
    var normalized: [Double] = []
    var output: [Double] = []
    var inputGradient: [Double] = []
    var gainGradient: [Double]
    var shiftGradient: [Double]

    init(_ z: [Double], columns: Int, gain: [Float], shift: [Float], epsilon: Double, gradient: [Float]) {
      gainGradient = Array(repeating: 0, count: columns)
      shiftGradient = gainGradient
      for start in stride(from: 0, to: z.count, by: columns) {
        let row = z[start..<start + columns]
        let mean = row.reduce(0, +) / Double(columns)
        let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
        let inverse = 1 / (variance + epsilon).squareRoot()
        let hats = row.map { ($0 - mean) * inverse }
        let dy = gradient[start..<start + columns].map(Double.init)
        let g = zip(dy, gain).map { $0 * Double($1) }
        let meanG = g.reduce(0, +) / Double(columns)
        let meanGX = zip(g, hats).reduce(0) { $0 + $1.0 * $1.1 } / Double(columns)
        for j in 0..<columns {
          output.append(hats[j] * Double(gain[j]) + Double(shift[j]))
          gainGradient[j] += dy[j] * hats[j]
          shiftGradient[j] += dy[j]
          inputGradient.append((g[j] - meanG - hats[j] * meanGX) * inverse)
        }
        normalized += hats
      }
    }
  }

  @Test("layer norm with bias, dropout and residual, and back", arguments: sizes, [false, true])
  func layerNorm(columns: Int, isWhole: Bool) {
    let rows = 5
    var numbers = Numbers(UInt64(columns))
    let x = numbers.floats(rows * columns, in: -2...3)
    let bias = numbers.floats(columns)
    let residual = numbers.floats(rows * columns)
    let gain = numbers.floats(columns, in: 0.5...1.5)
    let shift = numbers.floats(columns)
    let gradient = numbers.floats(rows * columns)
    let dropout = isWhole ? Dropout(probability: 0.25, seed: 3, step: 2) : nil
    let address = { (row: Int) in RandomAddress(site: 2, row: UInt32(row), position: 5) }
    var scales = [Float](repeating: 1, count: rows * columns + Dropout.padding)
    if let dropout { dropoutScales(dropout, rows: rows, columns: columns, into: &scales, address: address) }
    let z = (0..<rows * columns).map { i in
      isWhole ? Double((x[i] + bias[i % columns]) * scales[i]) + Double(residual[i]) : Double(x[i])
    }
    // One column: variance 0, so the norm divides by √ε; a small ε would magnify rounding.
    let epsilon = 1e-3
    let expected = Norm(z, columns: columns, gain: gain, shift: shift, epsilon: epsilon, gradient: gradient)

    var kept = x + [7]
    var output = [Float](repeating: .nan, count: rows * columns) + [7]
    var deviation = [Float](repeating: .nan, count: rows) + [7]
    var scratch = [Float](repeating: .nan, count: columns + Dropout.padding)
    var sums = [Float](repeating: .nan, count: 3 * columns) + [7]
    var branch = [Float](repeating: .nan, count: rows * columns) + [7]
    var moved = gradient + [7]
    gain.withUnsafeBufferPointer { gain in
      shift.withUnsafeBufferPointer { shift in
        bias.withUnsafeBufferPointer { bias in
          residual.withUnsafeBufferPointer { residual in
            let norm = ResidualLayerNorm(
              columns: columns, epsilon: Float(epsilon), gain: gain.baseAddress!, shift: shift.baseAddress!)
            norm.forward(
              rows: rows, x: &kept, bias: isWhole ? bias.baseAddress : nil,
              residual: isWhole ? residual.baseAddress : nil, dropout: dropout, inverseDeviation: &deviation,
              output: &output, scratch: &scratch, address: address)
            branch.withUnsafeMutableBufferPointer { branch in
              norm.backward(
                rows: rows, normalized: kept, inverseDeviation: deviation, gradient: &moved,
                branch: isWhole ? branch.baseAddress : nil, dropout: dropout, sums: &sums, scratch: &scratch,
                address: address)
            }
          }
        }
      }
    }
    let ends = [kept.last, output.last, deviation.last, moved.last, sums.last, branch.last]
    #expect(ends == Array(repeating: 7, count: 6), "written past the end")
    let count = rows * columns
    func check(_ name: String, _ values: [Float], _ expected: [Double], _ tolerance: Double) {
      #expect(worstDifference(name, values.map(Double.init), expected, within: tolerance) == nil)
    }
    check("normalized", Array(kept.prefix(count)), expected.normalized, 5e-6)
    check("output", Array(output.prefix(count)), expected.output, 5e-6)
    check("input gradient", Array(moved.prefix(count)), expected.inputGradient, 3e-5)
    check("gain gradient", Array(sums.prefix(columns)), expected.gainGradient, 3e-5)
    check("shift gradient", Array(sums[columns..<2 * columns]), expected.shiftGradient, 3e-5)
    let behind = isWhole ? zip(moved.prefix(count), scales).map { $0 * $1 } : []
    if isWhole { #expect(Array(branch.prefix(count)) == behind) }
    let biasGradient = (0..<columns).map { j in
      stride(from: j, to: behind.count, by: columns).reduce(0.0) { $0 + Double(behind[$1]) }
    }
    check("bias gradient", Array(sums[2 * columns..<3 * columns]), biasGradient, 5e-6)
  }

  @Test("behind an inactive dropout, bias and residual have one gradient")
  func withoutDropout() {
    let gain: [Float] = [1, 2]
    var scratch: [Float] = [0]
    var (gradient, branch, sums): ([Float], [Float], [Float]) = ([3, 1, -2, 5], [0, 0, 0, 0], [9, 9, 9, 9, 9, 9])
    ResidualLayerNorm(columns: 2, epsilon: 1, gain: gain, shift: gain).backward(
      rows: 2, normalized: [0.5, -0.5, 1, -1], inverseDeviation: [1, 2], gradient: &gradient, branch: &branch,
      dropout: Dropout(probability: 0, seed: 1, step: 1), sums: &sums, scratch: &scratch,
      address: { RandomAddress(site: 0, row: UInt32($0), position: 0) })
    #expect(branch == gradient && sums == [-0.5, -5.5, 1, 6, branch[0] + branch[2], branch[1] + branch[3]])
  }

  @Test("softmax and back", arguments: sizes)
  func softmax(columns: Int) {
    let rows = 4
    var numbers = Numbers(UInt64(columns))
    var scores = numbers.floats(rows * columns, in: -8...8)
    // The largest element at the end of a row, far from the others, and a row of large equal values.
    scores[columns - 1] = 60
    for j in 0..<columns { scores[columns + j] = 3e4 }
    var probabilities = scores + [7]
    softmaxRows(rows: rows, columns: columns, x: &probabilities)
    #expect(probabilities.removeLast() == 7)
    let upstream = numbers.floats(rows * columns)
    var gradient = upstream
    softmaxBackward(rows: rows, columns: columns, probabilities: probabilities, gradient: &gradient)
    for row in 0..<rows {
      let range = row * columns..<(row + 1) * columns
      let top = Double(scores[range].max()!)
      let powers = scores[range].map { exp(Double($0) - top) }
      let total = powers.reduce(0, +)
      let p = powers.map { $0 / total }
      #expect(worstDifference("p of row \(row)", probabilities[range].map(Double.init), p, within: 4e-7) == nil)
      let dp = upstream[range].map(Double.init)
      let dot = zip(p, dp).reduce(0) { $0 + $1.0 * $1.1 }
      let ds = zip(p, dp).map { $0 * ($1 - dot) }
      #expect(worstDifference("ds of row \(row)", gradient[range].map(Double.init), ds, within: 1e-6) == nil)
    }
  }

  @Test("softmax of rows with room behind them is that of the rows, and zeros", arguments: sizes)
  func softmaxOfPaddedRows(columns: Int) {
    let (rows, stride) = (3, columns + 5)
    var numbers = Numbers(UInt64(columns))
    var padded = numbers.floats(rows * stride, in: -8 ... -1)
    var alone = (0..<rows).flatMap { padded[$0 * stride..<$0 * stride + columns] }
    softmaxRows(rows: rows, columns: columns, x: &padded, rowStride: stride)
    softmaxRows(rows: rows, columns: columns, x: &alone)
    for row in 0..<rows {
      let values = padded[row * stride..<(row + 1) * stride].map(Double.init)
      let expected = alone[row * columns..<(row + 1) * columns].map(Double.init) + [0, 0, 0, 0, 0]
      #expect(worstDifference("row \(row)", values, expected, within: 2e-7) == nil)
      #expect(values.suffix(5) == [0, 0, 0, 0, 0])
    }
  }

  @Test("cross-entropy, also of logits far apart", arguments: [1, 2, 3, 7])
  func crossEntropyLoss(classes: Int) {
    var numbers = Numbers(UInt64(classes))
    for scale: Float in [1, 50, 3000] {
      let logits = numbers.floats(classes).map { $0 * scale }
      for label in 0..<classes {
        var gradient = [Float](repeating: .nan, count: classes)
        let loss = crossEntropy(
          classes: classes, logits: logits, label: label, gradientScale: 0.125, gradient: &gradient)
        let top = Double(logits.max()!)
        let total = logits.reduce(0) { $0 + exp(Double($1) - top) }
        #expect(relativeError(loss + 1, log(total) + top - Double(logits[label]) + 1) < 1e-12)
        let expected = logits.indices.map { ((exp(Double(logits[$0]) - top) / total) - ($0 == label ? 1 : 0)) / 8 }
        #expect(worstDifference("gradient", gradient.map(Double.init), expected, within: 1e-7) == nil)
      }
    }
  }

  @Test(
    "binary cross-entropy is the mean over classes, also of logits far apart, with its own slope", arguments: [1, 2, 5])
  func binaryCrossEntropyLoss(classes: Int) {
    var numbers = Numbers(UInt64(classes))
    for scale: Float in [1, 50, 3000] {
      let logits = numbers.floats(classes).map { $0 * scale }
      for own: [Int32] in [[], [0], Array(0..<Int32(classes))] {
        var gradient = [Float](repeating: .nan, count: classes)
        let loss = own.withUnsafeBufferPointer {
          binaryCrossEntropy(classes: classes, logits: logits, own: $0, gradientScale: 0.125, gradient: &gradient)
        }
        // -log of the probability of what is right, a sigmoid's, class by class.
        let terms = logits.indices.map { j in
          let x = Double(logits[j]) * (own.contains(Int32(j)) ? 1 : -1)
          return x > 0 ? log1p(exp(-x)) : log1p(exp(x)) - x
        }
        #expect(relativeError(loss + 1, terms.reduce(0, +) / Double(classes) + 1) < 1e-12)
        let expected = logits.indices.map { j in
          (1 / (1 + exp(-Double(logits[j]))) - (own.contains(Int32(j)) ? 1 : 0)) / Double(classes) / 8
        }
        #expect(worstDifference("gradient", gradient.map(Double.init), expected, within: 1e-7) == nil)
      }
    }
  }

  @Test("squared error is torch's mean over outputs")
  func squaredErrorLoss() {
    var gradient: [Float] = [.nan, .nan]
    let loss = squaredError(
      outputs: 2, predictions: [1, -2], targets: [0.5, 2], gradientScale: 0.5, gradient: &gradient)
    #expect(loss == (0.25 + 16) / 2)
    #expect(gradient == [0.25, -2])
  }

  @Test("tanh with bias, and back")
  func tanhs() {
    var x: [Float] = [0.5, -1, 2, 0, 3, -4]
    let bias: [Float] = [0.25, -0.5, 1]
    let expected = x.indices.map { tanh(Double(x[$0] + bias[$0 % 3])) }
    biasTanh(rows: 2, columns: 3, x: &x, bias: bias)
    #expect(worstDifference("tanh", x.map(Double.init), expected, within: 2e-7) == nil)
    var gradient: [Float] = [1, 2, 3, 4, 5, 6]
    tanhBackward(count: 6, y: x, gradient: &gradient)
    let slopes = expected.indices.map { Double($0 + 1) * (1 - expected[$0] * expected[$0]) }
    #expect(worstDifference("slope", gradient.map(Double.init), slopes, within: 2e-6) == nil)
  }
}
