import Glibc

/// Softmax cross-entropy of one row, -log softmax(logits)[label], in double precision.
///
/// - Parameters:
///   - logits: `[classes]`.
///   - gradient: `[classes]`, overwritten with (softmax(logits) - onehot(label)) · gradientScale.
/// - Returns: the row's loss.
public func crossEntropy(
  classes: Int, logits: UnsafePointer<Float>, label: Int, gradientScale: Double,
  gradient: UnsafeMutablePointer<Float>
) -> Double {
  var maximum = Double(logits[0])
  for j in 1..<max(classes, 1) { maximum = max(maximum, Double(logits[j])) }
  var total = 0.0
  for j in 0..<classes { total += exp(Double(logits[j]) - maximum) }
  for j in 0..<classes {
    let probability = exp(Double(logits[j]) - maximum) / total
    gradient[j] = Float((probability - (j == label ? 1 : 0)) * gradientScale)
  }
  return log(total) + maximum - Double(logits[label])
}

/// Squared error of one row, averaged over its outputs, as torch's MSELoss: Σ (x - target)² / outputs.
///
/// - Parameter gradient: overwritten with 2 (x - target) / outputs · gradientScale.
public func squaredError(
  outputs: Int, predictions: UnsafePointer<Float>, targets: UnsafePointer<Float>, gradientScale: Double,
  gradient: UnsafeMutablePointer<Float>
) -> Double {
  var total = 0.0
  for j in 0..<outputs {
    let difference = Double(predictions[j]) - Double(targets[j])
    total += difference * difference
    gradient[j] = Float(2 * difference / Double(outputs) * gradientScale)
  }
  return total / Double(outputs)
}

/// Binary cross-entropy of one row, averaged over its classes, as torch's BCEWithLogitsLoss, in double precision:
/// Σ (max(x, 0) - x t + log(1 + exp(-|x|))) / classes, where t is 1 for the row's own classes and 0 for others.
///
/// - Parameters:
///   - logits: `[classes]`.
///   - own: the row's classes, each once.
///   - gradient: `[classes]`, overwritten with (sigmoid(x) - t) / classes · gradientScale.
/// - Returns: the row's loss.
public func binaryCrossEntropy(
  classes: Int, logits: UnsafePointer<Float>, own: UnsafeBufferPointer<Int32>, gradientScale: Double,
  gradient: UnsafeMutablePointer<Float>
) -> Double {
  var total = 0.0
  for j in 0..<classes {
    let x = Double(logits[j])
    var target = 0.0
    for index in own where Int(index) == j { target = 1 }
    let small = exp(-abs(x))
    total += max(x, 0) - x * target + log1p(small)
    let sigmoid = x >= 0 ? 1 / (1 + small) : small / (1 + small)
    gradient[j] = Float((sigmoid - target) / Double(classes) * gradientScale)
  }
  return total / Double(classes)
}

/// Adds `bias` to every row of `x` `[rows, columns]` and takes tanh, in place.
public func biasTanh(rows: Int, columns: Int, x: UnsafeMutablePointer<Float>, bias: UnsafePointer<Float>) {
  for row in 0..<rows {
    for j in 0..<columns { x[row * columns + j] = tanhf(x[row * columns + j] + bias[j]) }
  }
}

/// Multiplies `gradient` in place by 1 - y², where y = tanh(x).
public func tanhBackward(count: Int, y: UnsafePointer<Float>, gradient: UnsafeMutablePointer<Float>) {
  for i in 0..<count { gradient[i] *= 1 - y[i] * y[i] }
}
