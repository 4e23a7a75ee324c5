import Kernels

extension BertClassifier {
  private func norm(_ slots: ParameterLayout.Norm, _ parameters: UnsafePointer<Float>) -> ResidualLayerNorm {
    ResidualLayerNorm(
      columns: configuration.hiddenSize, epsilon: Float(configuration.layerNormEpsilon), gain: parameters + slots.gain,
      shift: parameters + slots.shift)
  }

  /// hidden[index + 1] = layer(hidden[index]): attention and feed-forward, each with bias, dropout, residual and norm.
  func layerForward(
    _ index: Int, _ input: PackedInput, _ parameters: UnsafePointer<Float>, _ dropout: DropoutPlan?
  ) {
    let slots = layout.layers[index]
    let kept = memory.layers[index]
    let tokens = input.tokens
    let hidden = configuration.hiddenSize
    let intermediate = configuration.intermediateSize
    let x = memory.hidden[index]  // [tokens, H]

    project(tokens, x, slots.queryKeyValue, parameters, inputs: hidden, outputs: 3 * hidden, into: kept.queryKeyValue)
    addBias(rows: tokens, columns: 3 * hidden, x: kept.queryKeyValue, bias: parameters + slots.queryKeyValue.bias)
    attentionForward(index, input, dropout)

    project(
      tokens, kept.context, slots.attentionOutput, parameters, inputs: hidden, outputs: hidden,
      into: kept.attentionNormalized)
    norm(slots.attentionNorm, parameters).forward(
      rows: tokens, x: kept.attentionNormalized, bias: parameters + slots.attentionOutput.bias, residual: x,
      dropout: hiddenDropout(dropout), inverseDeviation: kept.attentionDeviation, output: kept.attentionOutput,
      scratch: memory.rowScratch, address: tokenAddress(.attentionOutput(layer: index)))

    project(
      tokens, kept.attentionOutput, slots.intermediate, parameters, inputs: hidden, outputs: intermediate,
      into: kept.beforeGELU)
    biasGELU(
      rows: tokens, columns: intermediate, x: kept.beforeGELU, bias: parameters + slots.intermediate.bias,
      into: kept.afterGELU)
    project(
      tokens, kept.afterGELU, slots.output, parameters, inputs: intermediate, outputs: hidden,
      into: kept.outputNormalized)
    norm(slots.outputNorm, parameters).forward(
      rows: tokens, x: kept.outputNormalized, bias: parameters + slots.output.bias, residual: kept.attentionOutput,
      dropout: hiddenDropout(dropout), inverseDeviation: kept.outputDeviation, output: memory.hidden[index + 1],
      scratch: memory.rowScratch, address: tokenAddress(.output(layer: index)))
  }

  /// Turns `hiddenGradient` from that of the layer's output into that of its input; adds or overwrites the gradients of
  /// its parameters.
  func layerBackward(
    _ index: Int, _ input: PackedInput, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ mode: OutputMode, _ dropout: DropoutPlan?
  ) {
    let slots = layout.layers[index]
    let kept = memory.layers[index]
    let tokens = input.tokens
    let hidden = configuration.hiddenSize
    let intermediate = configuration.intermediateSize
    let gradient = memory.hiddenGradient  // [tokens, H]
    let branch = memory.branchGradient  // [tokens, H]
    let wide = memory.intermediateGradient  // [tokens, I]

    // Feed-forward: gradient becomes that of the sum before the norm, which is also that of the residual.
    norm(slots.outputNorm, parameters).backward(
      rows: tokens, normalized: kept.outputNormalized, inverseDeviation: kept.outputDeviation, gradient: gradient,
      gainGradient: gradients + slots.outputNorm.gain, shiftGradient: gradients + slots.outputNorm.shift)
    dropoutBiasBackward(
      rows: tokens, columns: hidden, gradient: gradient, dropout: hiddenDropout(dropout), into: branch,
      biasGradient: gradients + slots.output.bias, scratch: memory.rowScratch,
      address: tokenAddress(.output(layer: index)))
    weightGradient(
      tokens, branch, outputs: hidden, kept.afterGELU, inputs: intermediate, into: gradients + slots.output.weight, mode)
    inputGradient(
      tokens, branch, outputs: hidden, parameters + slots.output.weight, inputs: intermediate, into: wide, .overwrite)
    geluBackward(count: tokens * intermediate, x: kept.beforeGELU, gradient: wide)
    columnSums(rows: tokens, columns: intermediate, wide, into: gradients + slots.intermediate.bias, .add)
    weightGradient(
      tokens, wide, outputs: intermediate, kept.attentionOutput, inputs: hidden,
      into: gradients + slots.intermediate.weight, mode)
    inputGradient(
      tokens, wide, outputs: intermediate, parameters + slots.intermediate.weight, inputs: hidden, into: gradient, .add)

    // Attention.
    norm(slots.attentionNorm, parameters).backward(
      rows: tokens, normalized: kept.attentionNormalized, inverseDeviation: kept.attentionDeviation,
      gradient: gradient, gainGradient: gradients + slots.attentionNorm.gain,
      shiftGradient: gradients + slots.attentionNorm.shift)
    dropoutBiasBackward(
      rows: tokens, columns: hidden, gradient: gradient, dropout: hiddenDropout(dropout), into: branch,
      biasGradient: gradients + slots.attentionOutput.bias, scratch: memory.rowScratch,
      address: tokenAddress(.attentionOutput(layer: index)))
    weightGradient(
      tokens, branch, outputs: hidden, kept.context, inputs: hidden, into: gradients + slots.attentionOutput.weight, mode)
    inputGradient(
      tokens, branch, outputs: hidden, parameters + slots.attentionOutput.weight, inputs: hidden,
      into: memory.contextGradient, .overwrite)
    attentionBackward(index, input, contextGradient: memory.contextGradient, dropout)
    let projected = memory.queryKeyValueGradient  // [tokens, 3H]
    columnSums(rows: tokens, columns: 3 * hidden, projected, into: gradients + slots.queryKeyValue.bias, .add)
    weightGradient(
      tokens, projected, outputs: 3 * hidden, memory.hidden[index], inputs: hidden,
      into: gradients + slots.queryKeyValue.weight, mode)
    inputGradient(
      tokens, projected, outputs: 3 * hidden, parameters + slots.queryKeyValue.weight, inputs: hidden, into: gradient,
      .add)
  }

  // MARK: The three products of a linear layer y = x · Wᵀ, W [outputs, inputs]

  /// output [rows, outputs] = x [rows, inputs] · Wᵀ, overwritten; the bias is left to the kernel that follows.
  func project(
    _ rows: Int, _ x: UnsafePointer<Float>, _ linear: ParameterLayout.Linear, _ parameters: UnsafePointer<Float>,
    inputs: Int, outputs: Int, into output: UnsafeMutablePointer<Float>
  ) {
    matrixProduct(
      rows: rows, columns: outputs, depth: inputs, MatrixOperand(x, rowStride: inputs),
      MatrixOperand(parameters + linear.weight, rowStride: inputs).transposed, into: output, outputStride: outputs)
  }

  /// dW [outputs, inputs] = dyᵀ · x, overwritten or added to.
  func weightGradient(
    _ rows: Int, _ gradient: UnsafePointer<Float>, outputs: Int, _ x: UnsafePointer<Float>, inputs: Int,
    into output: UnsafeMutablePointer<Float>, _ mode: OutputMode
  ) {
    matrixProduct(
      rows: outputs, columns: inputs, depth: rows, MatrixOperand(gradient, rowStride: outputs).transposed,
      MatrixOperand(x, rowStride: inputs), into: output, outputStride: inputs, mode)
  }

  /// dx [rows, inputs] = dy · W, overwritten or added to.
  func inputGradient(
    _ rows: Int, _ gradient: UnsafePointer<Float>, outputs: Int, _ weight: UnsafePointer<Float>, inputs: Int,
    into output: UnsafeMutablePointer<Float>, _ mode: OutputMode
  ) {
    matrixProduct(
      rows: rows, columns: inputs, depth: outputs, MatrixOperand(gradient, rowStride: outputs),
      MatrixOperand(weight, rowStride: inputs), into: output, outputStride: inputs, mode)
  }
}
