import Glibc
import Lockstep

/// logits = tanh(x · W₁ᵀ + b₁) · W₂ᵀ + b₂, for the state x of each row's first token.
struct TwoLayerHead: TaskHead {
  let width: Int
  let outputs: Int

  func parameters(hiddenSize: Int) -> [HeadParameter] {
    [
      HeadParameter("head.inner.weight", shape: [width, hiddenSize], .weight),
      HeadParameter("head.inner.bias", shape: [width], .bias),
      HeadParameter("head.outer.weight", shape: [outputs, width], .weight),
      HeadParameter("head.outer.bias", shape: [outputs], .bias),
    ]
  }

  func forward(_ pass: HeadForward) {
    for row in 0..<pass.rows {
      let inner = inner(pass.states + row * pass.hiddenSize, pass.hiddenSize, pass.weights)
      for output in 0..<outputs {
        var sum = pass.weights[3][output]
        for unit in 0..<width { sum += inner[unit] * pass.weights[2][output * width + unit] }
        pass.logits[row * outputs + output] = sum
      }
    }
  }

  func backward(_ pass: HeadBackward) {
    let hidden = pass.hiddenSize
    for row in 0..<pass.rows {
      let state = pass.states + row * hidden  // [hidden]
      let gradient = pass.logitsGradient + row * outputs  // [outputs]
      let stateGradient = pass.statesGradient + row * hidden  // [hidden]
      let inner = inner(state, hidden, pass.weights)  // [width]
      stateGradient.update(repeating: 0, count: hidden)
      for output in 0..<outputs { pass.weightGradients[3][output] += gradient[output] }
      for unit in 0..<width {
        var sum: Float = 0
        for output in 0..<outputs {
          pass.weightGradients[2][output * width + unit] += gradient[output] * inner[unit]
          sum += gradient[output] * pass.weights[2][output * width + unit]
        }
        // tanh' = 1 - tanh²
        let innerGradient = sum * (1 - inner[unit] * inner[unit])
        pass.weightGradients[1][unit] += innerGradient
        for place in 0..<hidden {
          pass.weightGradients[0][unit * hidden + place] += innerGradient * state[place]
          stateGradient[place] += innerGradient * pass.weights[0][unit * hidden + place]
        }
      }
    }
  }

  /// tanh(x · W₁ᵀ + b₁): [width]
  private func inner(
    _ state: UnsafePointer<Float>, _ hidden: Int, _ weights: [UnsafePointer<Float>]
  ) -> [Float] {
    (0..<width).map { unit in
      var sum = weights[1][unit]
      for place in 0..<hidden { sum += state[place] * weights[0][unit * hidden + place] }
      return tanh(sum)
    }
  }
}
