// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101, in the order of torch.optim.AdamW:
// θ *= 1 - lr·λ;  m = β₁m + (1-β₁)g;  v = β₂v + (1-β₂)g²;  θ -= lr / (1-β₁ᵗ) · m / (√v / √(1-β₂ᵗ) + ε).

import CCPU

/// The numbers of one AdamW step.
public struct AdamWStep: Sendable {
  let decayFactor: Float
  /// 1 - β, taken in double: 1 - Float(0.999) is off by 5e-5 of itself.
  let newShare1: Float
  let beta2: Float
  let newShare2: Float
  let stepSize: Float
  let inverseSqrtCorrection2: Float
  let epsilon: Float
  let gradientScale: Float

  /// - Parameters:
  ///   - step: t, counted from 1.
  ///   - gradientScale: every gradient is multiplied by it first (clipping by norm).
  public init(
    step: Int, learningRate: Double, weightDecay: Double, beta1: Double, beta2: Double, epsilon: Double,
    gradientScale: Double
  ) {
    var power1 = 1.0
    var power2 = 1.0
    for _ in 0..<step {
      power1 *= beta1
      power2 *= beta2
      if power1 < 1e-300 && power2 < 1e-300 { break }
    }
    decayFactor = Float(1 - learningRate * weightDecay)
    newShare1 = Float(1 - beta1)
    self.beta2 = Float(beta2)
    newShare2 = Float(1 - beta2)
    stepSize = Float(learningRate / (1 - power1))
    inverseSqrtCorrection2 = Float(1 / (1 - power2).squareRoot())
    self.epsilon = Float(epsilon)
    self.gradientScale = Float(gradientScale)
  }

  /// Adds up the gradients of several sources and updates a run of parameters and their moments in place, in one pass
  /// through memory.
  ///
  /// - Parameters:
  ///   - range: the run's place in `parameters` and in each of `gradients`.
  ///   - gradients: read only; added in order. None where the gradient is 0.
  ///   - firstMoments, secondMoments: of the run: element 0 belongs to `range.lowerBound`.
  /// - Returns: Σ g² of the summed gradients, before `gradientScale`.
  public func apply(
    _ range: Range<Int>, parameters: UnsafeMutablePointer<Float>, gradients: [UnsafePointer<Float>],
    firstMoments: UnsafeMutablePointer<Float>, secondMoments: UnsafeMutablePointer<Float>
  ) -> Double {
    var squares = 0.0
    forEachBlock(range, gradients) { start, count, gradient in
      squares += sumOfSquares(count: count, gradient)
      let first = firstMoments + (start - range.lowerBound)
      let second = secondMoments + (start - range.lowerBound)
      // Not the whole block at once, so that the next block's lines are asked for little by little.
      for part in stride(from: 0, to: count, by: Self.prefetchedCount) {
        for source in gradients { prefetch(source + start + part) }
        prefetch(parameters + start + part)
        prefetch(first + part)
        prefetch(second + part)
        update(
          count: min(Self.prefetchedCount, count - part), parameters: parameters + start + part,
          gradients: gradient + part, firstMoments: first + part, secondMoments: second + part)
      }
    }
    return squares
  }

  private static let prefetchedCount = 128

  /// Asks the memory for what will be needed a block later. The processor finds out by itself too, but too late for five
  /// streams at once: of the memory's bandwidth it leaves a quarter unused.
  @inline(__always)
  private func prefetch(_ memory: UnsafePointer<Float>) {
    for line in stride(from: 0, to: Self.prefetchedCount, by: 16) {
      lockstep_prefetch(memory + blockCount + line)
    }
  }

  @inline(__always)
  private func update(
    count: Int, parameters: UnsafeMutablePointer<Float>, gradients: UnsafePointer<Float>,
    firstMoments: UnsafeMutablePointer<Float>, secondMoments: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<count {
      let g = gradients[i] * gradientScale
      let m = firstMoments[i] + (g - firstMoments[i]) * newShare1
      let v = secondMoments[i] * beta2 + g * g * newShare2
      firstMoments[i] = m
      secondMoments[i] = v
      let denominator = v.squareRoot() * inverseSqrtCorrection2 + epsilon
      parameters[i] = parameters[i] * decayFactor - stepSize * m / denominator
    }
  }
}

/// Σ g² over `range`, where g is the sum of `gradients`.
public func sumOfSquares(_ range: Range<Int>, ofSum gradients: [UnsafePointer<Float>]) -> Double {
  var squares = 0.0
  forEachBlock(range, gradients) { _, count, gradient in squares += sumOfSquares(count: count, gradient) }
  return squares
}

/// Parameters that the first cache holds with their gradients and moments.
private let blockCount = 1024

/// Calls `body` with the start, the count and the summed gradient of each block of `range`; blocks fit the first cache.
@inline(__always)
private func forEachBlock(
  _ range: Range<Int>, _ gradients: [UnsafePointer<Float>], _ body: (Int, Int, UnsafePointer<Float>) -> Void
) {
  withUnsafeTemporaryAllocation(of: Float.self, capacity: blockCount) { scratch in
    guard let sum = scratch.baseAddress else { return }
    var start = range.lowerBound
    while start < range.upperBound {
      let count = min(blockCount, range.upperBound - start)
      switch gradients.count {
      case 0:
        sum.update(repeating: 0, count: count)
        body(start, count, UnsafePointer(sum))
      case 1: body(start, count, gradients[0] + start)
      default:
        let first = gradients[0] + start
        let second = gradients[1] + start
        for i in 0..<count { sum[i] = first[i] + second[i] }
        for source in gradients.dropFirst(2) { add(count: count, source + start, to: sum) }
        body(start, count, UnsafePointer(sum))
      }
      start += count
    }
  }
}
