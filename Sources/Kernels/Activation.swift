// f(x + b) between the two products of a feed-forward block, and f′. Formulas: transformers' activations.py and torch.

/// The function of a feed-forward block. transformers has several names for some of them.
public enum Activation: Sendable, CaseIterable {
  /// x · Φ(x).
  case gelu
  /// ½x (1 + tanh(√(2/π) (x + 0.044715 x³))): GELU as BERT's first code approximates it.
  case geluTanh
  /// x · σ(1.702 x).
  case quickGELU
  /// max(x, 0).
  case relu
  /// max(x, 0)².
  case relu2
  /// min(max(x, 0), 6).
  case relu6
  /// x, or 0.01 x below 0.
  case leakyReLU
  /// x · σ(x).
  case silu
  /// x · tanh(ln(1 + eˣ)).
  case mish
  case tanh
  /// σ(x) = 1 / (1 + e⁻ˣ).
  case sigmoid

  /// The names that a config.json may have for each, of those that need no numbers of their own.
  private static let byName: KeyValuePairs<String, Activation> = [
    "gelu": .gelu, "gelu_python": .gelu, "gelu_new": .geluTanh, "gelu_pytorch_tanh": .geluTanh,
    "gelu_python_tanh": .geluTanh, "gelu_fast": .geluTanh, "gelu_accurate": .geluTanh, "quick_gelu": .quickGELU,
    "relu": .relu, "relu2": .relu2, "relu6": .relu6, "leaky_relu": .leakyReLU, "silu": .silu, "swish": .silu,
    "mish": .mish, "tanh": .tanh, "sigmoid": .sigmoid,
  ]

  /// All names, for messages.
  public static var names: [String] { byName.map(\.key) }

  /// The function that transformers calls `name`; nil where there is none.
  public init?(name: String) {
    guard let found = Self.byName.first(where: { $0.key == name }) else { return nil }
    self = found.value
  }
}

/// Overwrites `output` with f(x + bias), and x with f′(x + bias) where backward will need it: both share most of their
/// work, and backward is left with a product.
///
/// - Parameters:
///   - x: `[rows, columns]`; where slopes are not kept, what it holds afterwards means nothing.
///   - bias: `[columns]`.
///   - output: `[rows, columns]`.
public func biasActivation(
  _ activation: Activation, rows: Int, columns: Int, x: UnsafeMutablePointer<Float>, bias: UnsafePointer<Float>,
  into output: UnsafeMutablePointer<Float>, keepsSlopes: Bool
) {
  /// Each function has loops of its own: nothing is chosen within them.
  @inline(__always)
  func apply(_ function: (Float) -> (value: Float, slope: Float)) {
    for row in 0..<rows {
      let xRow = x + row * columns
      let outputRow = output + row * columns
      if keepsSlopes {
        for j in 0..<columns { (outputRow[j], xRow[j]) = function(xRow[j] + bias[j]) }
      } else {
        for j in 0..<columns { outputRow[j] = function(xRow[j] + bias[j]).value }
      }
    }
  }
  switch activation {
  case .gelu:
    biasGELU(rows: rows, columns: columns, x: x, bias: bias, into: output, keepsSlopes: keepsSlopes)
  case .geluTanh:
    apply { x in
      let (root, cube): (Float, Float) = (0.797_884_56, 0.044_715)
      let t = hyperbolicTangent(root * x.addingProduct(cube, x * x * x))
      let inner = root * Float(1).addingProduct(3 * cube, x * x)
      return (0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)
    }
  case .quickGELU:
    apply { x in
      let s = logistic(1.702 * x)
      return (x * s, s + 1.702 * x * s * (1 - s))
    }
  case .relu: apply { x in (max(x, 0), x > 0 ? 1 : 0) }
  case .relu2: apply { x in (max(x, 0) * max(x, 0), 2 * max(x, 0)) }
  case .relu6: apply { x in (min(max(x, 0), 6), x > 0 && x < 6 ? 1 : 0) }
  case .leakyReLU: apply { x in (x > 0 ? x : 0.01 * x, x > 0 ? 1 : 0.01) }
  case .silu:
    apply { x in
      let s = logistic(x)
      return (x * s, s + x * s * (1 - s))
    }
  case .mish:
    apply { x in
      // tanh(ln(1 + e)) = n / (n + 2), n = e² + 2e; beyond 20 it is 1.
      let e = exponential(min(x, 20))
      let n = e * (e + 2)
      let t = n / (n + 2)
      return (x * t, t + x * (1 - t * t) * logistic(x))
    }
  case .tanh:
    apply { x in
      let t = hyperbolicTangent(x)
      return (t, 1 - t * t)
    }
  case .sigmoid:
    apply { x in
      let s = logistic(x)
      return (s, s * (1 - s))
    }
  }
}

/// Multiplies `gradient` in place by the slopes that `biasActivation` left, so that the gradient of the output becomes
/// that of x, and sums its columns, the gradient of the bias.
///
/// - Parameters:
///   - slopes, gradient: `[rows, columns]`.
///   - sums: `[columns]`, overwritten.
public func biasActivationBackward(
  rows: Int, columns: Int, slopes: UnsafePointer<Float>, gradient: UnsafeMutablePointer<Float>,
  sums: UnsafeMutablePointer<Float>
) {
  sums.update(repeating: 0, count: columns)
  for row in 0..<rows {
    let slopeRow = slopes + row * columns
    let gradientRow = gradient + row * columns
    for j in 0..<columns {
      let product = gradientRow[j] * slopeRow[j]
      gradientRow[j] = product
      sums[j] += product
    }
  }
}
