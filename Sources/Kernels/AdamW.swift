// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101, in the order of torch.optim.AdamW:
// θ *= 1 - lr·λ;  m = β₁m + (1-β₁)g;  v = β₂v + (1-β₂)g²;  θ -= lr / (1-β₁ᵗ) · m / (√v / √(1-β₂ᵗ) + ε).

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

  /// Updates `count` parameters and their moments in place; the gradients are read only.
  public func apply(
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
