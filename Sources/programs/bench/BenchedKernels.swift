import Glibc
import Kernels

extension KernelBench {
  /// GELU(x + b) and its gradient.
  static func gelu(rows: Int, columns: Int) -> [KernelBench] {
    let count = rows * columns
    let (source, x, bias) = (Numbers(count, seed: 1), Numbers(count, seed: 1), Numbers(columns, seed: 2))
    let (output, gradient, gradientSource) = (
      Numbers(count, seed: 3), Numbers(count, seed: 4), Numbers(count, seed: 4)
    )
    let sums = Numbers(columns, seed: 5)
    let forward = {
      biasGELU(
        rows: rows, columns: columns, x: x.pointer, bias: bias.pointer, into: output.pointer, keepsSlopes: true)
    }
    func cumulative(_ value: Double) -> Double { 0.5 * (1 + erf(value / 2.0.squareRoot())) }
    func sum(_ index: Int) -> Double { source[index] + bias[index % columns] }
    return [
      KernelBench(
        "bias and GELU with slopes, forward", elements: count, bytesPerElement: 16, bound: 1e-6,
        prepare: { x.copy(from: source) }, run: forward,
        compare: { output.samples.map { (output.pointer[$0], sum($0) * cumulative(sum($0))) } }),
      KernelBench(
        "GELU and bias, backward", elements: count, bytesPerElement: 12, bound: 1e-5,
        prepare: {
          x.copy(from: source)
          forward()
          gradient.copy(from: gradientSource)
        },
        run: {
          biasActivationBackward(
            rows: rows, columns: columns, slopes: x.pointer, gradient: gradient.pointer, sums: sums.pointer)
        },
        compare: {
          gradient.samples.map { index in
            let value = sum(index)
            let density = exp(-0.5 * value * value) / (2 * Double.pi).squareRoot()
            return (gradient.pointer[index], gradientSource[index] * (cumulative(value) + value * density))
          }
        }),
    ]
  }

  /// LayerNorm(x + b + residual) and the gradient of the sum.
  static func layerNorm(rows: Int, columns: Int) -> [KernelBench] {
    let count = rows * columns
    let (source, x, residual) = (Numbers(count, seed: 1), Numbers(count, seed: 1), Numbers(count, seed: 2))
    let (bias, gain, shift) = (Numbers(columns, seed: 3), Numbers(columns, seed: 4), Numbers(columns, seed: 5))
    let (output, deviation, scratch) = (
      Numbers(count, seed: 6), Numbers(rows, seed: 7), Numbers(columns + Dropout.padding, seed: 8)
    )
    let (gradient, gradientSource) = (Numbers(count, seed: 9), Numbers(count, seed: 9))
    let (branch, sums) = (Numbers(count, seed: 10), Numbers(3 * columns, seed: 11))
    let norm = ResidualLayerNorm(columns: columns, epsilon: 1e-12, gain: gain.pointer, shift: shift.pointer)
    let forward = {
      norm.forward(
        rows: rows, x: x.pointer, bias: bias.pointer, residual: residual.pointer, dropout: nil,
        inverseDeviation: deviation.pointer, output: output.pointer, scratch: scratch.pointer,
        address: { RandomAddress(site: 0, row: UInt32($0), position: 0) })
    }
    /// x̂ of a row and 1 / deviation, in double precision.
    func normalized(_ row: Int) -> (values: [Double], inverse: Double) {
      let z = (0..<columns).map { source[row * columns + $0] + bias[$0] + residual[row * columns + $0] }
      let mean = z.reduce(0, +) / Double(columns)
      let variance = z.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
      let inverse = 1 / (variance + 1e-12).squareRoot()
      return (z.map { ($0 - mean) * inverse }, inverse)
    }
    let rowSamples = stride(from: 0, to: rows, by: max(1, rows / 10))
    return [
      KernelBench(
        "bias, residual and LayerNorm, forward", elements: count, bytesPerElement: 16, bound: 1e-5,
        prepare: { x.copy(from: source) }, run: forward,
        compare: {
          rowSamples.flatMap { row in
            normalized(row).values.enumerated().map { column, value in
              (output.pointer[row * columns + column], value * gain[column] + shift[column])
            }
          }
        }),
      KernelBench(
        "LayerNorm and bias, backward", elements: count, bytesPerElement: 16, bound: 1e-4,
        prepare: {
          x.copy(from: source)
          forward()
          gradient.copy(from: gradientSource)
        },
        run: {
          norm.backward(
            rows: rows, normalized: x.pointer, inverseDeviation: deviation.pointer, gradient: gradient.pointer,
            branch: branch.pointer, dropout: nil, sums: sums.pointer, scratch: scratch.pointer,
            address: { RandomAddress(site: 0, row: UInt32($0), position: 0) })
        },
        compare: {
          rowSamples.flatMap { row in
            let (xHat, inverse) = normalized(row)
            let g = (0..<columns).map { gradientSource[row * columns + $0] * gain[$0] }
            let meanG = g.reduce(0, +) / Double(columns)
            let meanGX = zip(g, xHat).reduce(0) { $0 + $1.0 * $1.1 } / Double(columns)
            return (0..<columns).map { column in
              (gradient.pointer[row * columns + column], (g[column] - meanG - xHat[column] * meanGX) * inverse)
            }
          }
        }),
    ]
  }

  static func softmax(rows: Int, columns: Int) -> [KernelBench] {
    let count = rows * columns
    let (source, x) = (Numbers(count, seed: 1), Numbers(count, seed: 1))
    let (gradient, gradientSource) = (Numbers(count, seed: 2), Numbers(count, seed: 2))
    func probabilities(_ row: Int) -> [Double] {
      let powers = (0..<columns).map { exp(source[row * columns + $0]) }
      let sum = powers.reduce(0, +)
      return powers.map { $0 / sum }
    }
    let rowSamples = stride(from: 0, to: rows, by: max(1, rows / 10))
    return [
      KernelBench(
        "softmax, forward", elements: count, bytesPerElement: 8, bound: 1e-6, prepare: { x.copy(from: source) },
        run: { softmaxRows(rows: rows, columns: columns, x: x.pointer) },
        compare: {
          rowSamples.flatMap { row in
            probabilities(row).enumerated().map { (x.pointer[row * columns + $0], $1) }
          }
        }),
      KernelBench(
        "softmax, backward", elements: count, bytesPerElement: 12, bound: 1e-5,
        prepare: {
          x.copy(from: source)
          softmaxRows(rows: rows, columns: columns, x: x.pointer)
          gradient.copy(from: gradientSource)
        },
        run: {
          softmaxBackward(rows: rows, columns: columns, probabilities: x.pointer, gradient: gradient.pointer)
        },
        compare: {
          rowSamples.flatMap { row in
            let p = probabilities(row)
            let dot = p.indices.reduce(0) { $0 + p[$1] * gradientSource[row * columns + $1] }
            return p.indices.map {
              (gradient.pointer[row * columns + $0], p[$0] * (gradientSource[row * columns + $0] - dot))
            }
          }
        }),
    ]
  }

  /// Dropout is its own backward: every element is 0, or itself over 0.9; close to a tenth of them are 0.
  static func dropout(rows: Int, columns: Int) -> [KernelBench] {
    let count = rows * columns
    let (source, x, scratch) = (
      Numbers(count, seed: 1), Numbers(count, seed: 1), Numbers(columns + Dropout.padding, seed: 2)
    )
    let dropout = Dropout(probability: 0.1, seed: 42, step: 1)
    return [
      KernelBench(
        "dropout, forward and backward", elements: count, bytesPerElement: 8, bound: 1e-6,
        prepare: { x.copy(from: source) },
        run: {
          applyDropout(
            dropout, rows: rows, columns: columns, x: x.pointer, scratch: scratch.pointer,
            address: { RandomAddress(site: 0, row: UInt32($0), position: 0) })
        },
        compare: {
          let kept = (0..<count).count { x.pointer[$0] != 0 }
          // Six standard deviations, and one for a handful of elements.
          let slack = (6 * (0.09 * Double(count)).squareRoot() + 1) / Double(count)
          let share = Double(kept) / Double(count)
          return x.samples.map { (x.pointer[$0], x.pointer[$0] == 0 ? 0 : source[$0] / 0.9) }
            + [(Float(abs(share - 0.9) <= slack ? 0.9 : share), 0.9)]
        })
    ]
  }

  /// A first step: moments begin at 0.
  static func adamW(count: Int) -> [KernelBench] {
    let (source, weights, gradients) = (
      Numbers(count, seed: 1), Numbers(count, seed: 1), Numbers(count, seed: 2, deviation: 0.01)
    )
    let (first, second) = (Numbers(count, seed: 3), Numbers(count, seed: 4))
    let step = AdamWStep(
      step: 1, learningRate: 1e-3, weightDecay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, gradientScale: 1)
    return [
      KernelBench(
        "AdamW", elements: count, bytesPerElement: 28, bound: 1e-5,
        prepare: {
          weights.copy(from: source)
          first.pointer.update(repeating: 0, count: count)
          second.pointer.update(repeating: 0, count: count)
        },
        run: {
          _ = step.apply(
            0..<count, parameters: weights.pointer, gradients: [UnsafePointer(gradients.pointer)],
            firstMoments: first.pointer, secondMoments: second.pointer)
        },
        compare: {
          weights.samples.map { index in
            let g = gradients[index]
            // Both corrections undo the first step's shares of the moments.
            return (weights.pointer[index], source[index] * (1 - 1e-3 * 0.01) - 1e-3 * g / (abs(g) + 1e-8))
          }
        })
    ]
  }
}
