import Batches
import Kernels

extension BertClassifier {
  private func norm(_ slots: ParameterLayout.Norm, _ parameters: UnsafePointer<Float>) -> ResidualLayerNorm {
    ResidualLayerNorm(
      columns: configuration.hiddenSize, epsilon: Float(configuration.layerNormEpsilon), gain: parameters + slots.gain,
      shift: parameters + slots.shift)
  }

  /// hidden[index + 1] = layer(hidden[index]): attention and feed-forward, each with bias, dropout, residual and norm.
  ///
  /// The last layer's output is computed at first tokens only: 5/6 of its products fall away, and no result changes.
  func layerForward(
    _ index: Int, _ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ dropout: DropoutPlan?
  ) {
    let slots = layout.layers[index]
    let kept = memory.layers[index]
    let hidden = configuration.hiddenSize
    let intermediate = configuration.intermediateSize
    let firstOnly = needsFirstTokensOnly(index)
    let lines = firstOnly ? ProductRows.firstTokens(input.sequences) : .tokens(input.tokens)
    let rows = lines.count
    let x = firstOnly ? gatherFirstTokens(input, memory.hidden[index]) : memory.hidden[index]  // [rows, H]

    let view = AttentionView(
      kept.queryKeyValue, tokens: input.tokens, hidden: hidden, firstTokensOnly: firstOnly)
    projectQueryKeyValue(index, input, view, parameters)
    attentionForward(index, input, view, bias: parameters + slots.queryKeyValue.bias, dropout)

    project(
      lines, kept.context, parameters + slots.attentionOutput.weight, inputs: hidden, outputs: hidden,
      into: kept.attentionNormalized)
    addAndNormalize(
      rows, norm(slots.attentionNorm, parameters), kept.attentionNormalized,
      bias: parameters + slots.attentionOutput.bias, residual: x, attentionOutputDropout(dropout),
      inverseDeviation: kept.attentionDeviation, into: kept.attentionOutput,
      address(.attentionOutput(layer: index), input, firstOnly))

    project(
      lines, kept.attentionOutput, parameters + slots.intermediate.weight, inputs: hidden, outputs: intermediate,
      into: kept.slopes)
    gemm.threads.forEachBlock(of: rows, blockCount: Activations.rowBlock) { _, part in
      let offset = part.lowerBound * intermediate
      biasActivation(
        configuration.activation, rows: part.count, columns: intermediate, x: kept.slopes + offset,
        bias: parameters + slots.intermediate.bias, into: kept.activated + offset,
        keepsSlopes: memory.keepsForBackward)
    }
    project(
      lines, kept.activated, parameters + slots.output.weight, inputs: intermediate, outputs: hidden,
      into: kept.outputNormalized)
    addAndNormalize(
      rows, norm(slots.outputNorm, parameters), kept.outputNormalized, bias: parameters + slots.output.bias,
      residual: kept.attentionOutput, hiddenDropout(dropout), inverseDeviation: kept.outputDeviation,
      into: memory.hidden[index + 1], address(.output(layer: index), input, firstOnly))
  }

  /// Turns `hiddenGradient` from that of the layer's output into that of its input; adds or overwrites the gradients of
  /// its parameters. The last layer begins with `firstTokensGradient` instead.
  func layerBackward(
    _ index: Int, _ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ mode: OutputMode, _ dropout: DropoutPlan?
  ) {
    feedForwardBackward(index, input, parameters, gradients, mode, dropout)
    selfAttentionBackward(index, input, parameters, gradients, mode, dropout)
  }

  /// The layer's second half: from the gradient of its output to that of the first half's.
  private func feedForwardBackward(
    _ index: Int, _ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ mode: OutputMode, _ dropout: DropoutPlan?
  ) {
    let slots = layout.layers[index]
    let kept = memory.layers[index]
    let hidden = configuration.hiddenSize
    let intermediate = configuration.intermediateSize
    let firstOnly = needsFirstTokensOnly(index)
    let lines = firstOnly ? ProductRows.firstTokens(input.sequences) : .tokens(input.tokens)
    let gradient = firstOnly ? memory.firstTokensGradient : memory.hiddenGradient  // [rows, H]
    let branch = memory.branchGradient  // [rows, H]
    let wide = memory.intermediateGradient  // [rows, I]

    // The gradient becomes that of the sum before the norm, which is also that of the residual.
    normBackward(
      lines, norm(slots.outputNorm, parameters), normalized: kept.outputNormalized,
      inverseDeviation: kept.outputDeviation, gradient: gradient, branch: branch, hiddenDropout(dropout),
      gain: gradients + slots.outputNorm.gain, shift: gradients + slots.outputNorm.shift,
      bias: gradients + slots.output.bias, address(.output(layer: index), input, firstOnly))
    weightGradient(
      lines, branch, outputs: hidden, kept.activated, inputs: intermediate, into: gradients + slots.output.weight, mode)
    inputGradient(
      lines, branch, outputs: hidden, parameters + slots.output.weight, inputs: intermediate, into: wide, .overwrite)
    forEachRowBlock(lines, sums: intermediate) { _, block, sums in
      let offset = block.lowerBound * intermediate
      biasActivationBackward(
        rows: block.count, columns: intermediate, slopes: kept.slopes + offset, gradient: wide + offset,
        sums: sums)
    }
    addUp(
      blocksOf: lines, width: intermediate, columns: intermediate, (gradients + slots.intermediate.bias, nil, nil))
    weightGradient(
      lines, wide, outputs: intermediate, kept.attentionOutput, inputs: hidden,
      into: gradients + slots.intermediate.weight, mode)
    inputGradient(
      lines, wide, outputs: intermediate, parameters + slots.intermediate.weight, inputs: hidden, into: gradient, .add)
  }

  /// The layer's first half: from the gradient of its output to that of the layer's input.
  private func selfAttentionBackward(
    _ index: Int, _ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ mode: OutputMode, _ dropout: DropoutPlan?
  ) {
    let slots = layout.layers[index]
    let kept = memory.layers[index]
    let hidden = configuration.hiddenSize
    let firstOnly = needsFirstTokensOnly(index)
    let lines = firstOnly ? ProductRows.firstTokens(input.sequences) : .tokens(input.tokens)
    let gradient = firstOnly ? memory.firstTokensGradient : memory.hiddenGradient  // [rows, H]
    let branch = memory.branchGradient  // [rows, H]

    normBackward(
      lines, norm(slots.attentionNorm, parameters), normalized: kept.attentionNormalized,
      inverseDeviation: kept.attentionDeviation, gradient: gradient, branch: branch,
      attentionOutputDropout(dropout), gain: gradients + slots.attentionNorm.gain,
      shift: gradients + slots.attentionNorm.shift,
      bias: gradients + slots.attentionOutput.bias, address(.attentionOutput(layer: index), input, firstOnly))
    weightGradient(
      lines, branch, outputs: hidden, kept.context, inputs: hidden, into: gradients + slots.attentionOutput.weight, mode
    )
    inputGradient(
      lines, branch, outputs: hidden, parameters + slots.attentionOutput.weight, inputs: hidden,
      into: memory.contextGradient, .overwrite)
    let view = AttentionView(
      kept.queryKeyValue, tokens: input.tokens, hidden: hidden, firstTokensOnly: firstOnly)
    let viewGradient = AttentionView(
      memory.queryKeyValueGradient, tokens: input.tokens, hidden: hidden, firstTokensOnly: firstOnly)
    attentionBackward(
      index, input, view, contextGradient: memory.contextGradient, into: viewGradient,
      biasGradient: gradients + slots.queryKeyValue.bias, dropout)
    queryKeyValueBackward(index, input, viewGradient, parameters, gradients, mode)
  }

  /// output = LayerNorm(dropout(x + bias) + residual), the rows shared out to the threads.
  private func addAndNormalize(
    _ rows: Int, _ norm: ResidualLayerNorm, _ x: UnsafeMutablePointer<Float>, bias: UnsafePointer<Float>,
    residual: UnsafePointer<Float>, _ dropout: Dropout?, inverseDeviation: UnsafeMutablePointer<Float>,
    into output: UnsafeMutablePointer<Float>, _ address: (Int) -> RandomAddress
  ) {
    gemm.threads.forEachBlock(of: rows, blockCount: Activations.rowBlock) { thread, part in
      let offset = part.lowerBound * norm.columns
      norm.forward(
        rows: part.count, x: x + offset, bias: bias, residual: residual + offset, dropout: dropout,
        inverseDeviation: inverseDeviation + part.lowerBound, output: output + offset,
        scratch: memory.rowScratches[thread], address: { address(part.lowerBound + $0) })
    }
  }

  // MARK: Queries, keys and values

  /// Overwrites what `view` shows: projections of the layer's input, whose biases attention adds.
  private func projectQueryKeyValue(
    _ index: Int, _ input: PackedBatch, _ view: AttentionView, _ parameters: UnsafePointer<Float>
  ) {
    let hidden = configuration.hiddenSize
    let x = memory.hidden[index]  // [tokens, H]
    let weight = parameters + layout.layers[index].queryKeyValue.weight  // [3H, H]
    guard view.firstTokensOnly else {
      project(.tokens(input.tokens), x, weight, inputs: hidden, outputs: 3 * hidden, into: view.queries)
      return
    }
    project(.tokens(input.tokens), x, weight + hidden * hidden, inputs: hidden, outputs: 2 * hidden, into: view.keys)
    project(
      .firstTokens(input.sequences), memory.firstTokens, weight, inputs: hidden, outputs: hidden, into: view.queries)
  }

  /// Adds the projections' part to `hiddenGradient`, which holds that of the residual.
  private func queryKeyValueBackward(
    _ index: Int, _ input: PackedBatch, _ view: AttentionView, _ parameters: UnsafePointer<Float>,
    _ gradients: UnsafeMutablePointer<Float>, _ mode: OutputMode
  ) {
    let hidden = configuration.hiddenSize
    let x = memory.hidden[index]  // [tokens, H]
    let slots = layout.layers[index].queryKeyValue
    let weight = parameters + slots.weight  // [3H, H]
    let square = hidden * hidden
    guard view.firstTokensOnly else {
      weightGradient(
        .tokens(input.tokens), view.queries, outputs: 3 * hidden, x, inputs: hidden, into: gradients + slots.weight,
        mode)
      inputGradient(
        .tokens(input.tokens), view.queries, outputs: 3 * hidden, weight, inputs: hidden, into: memory.hiddenGradient,
        .add)
      return
    }
    weightGradient(
      .tokens(input.tokens), view.keys, outputs: 2 * hidden, x, inputs: hidden, into: gradients + slots.weight + square,
      mode)
    inputGradient(
      .tokens(input.tokens), view.keys, outputs: 2 * hidden, weight + square, inputs: hidden,
      into: memory.hiddenGradient,
      .overwrite)

    weightGradient(
      .firstTokens(input.sequences), view.queries, outputs: hidden, memory.firstTokens, inputs: hidden,
      into: gradients + slots.weight, mode)
    inputGradient(
      .firstTokens(input.sequences), view.queries, outputs: hidden, weight, inputs: hidden,
      into: memory.firstTokensGradient, .add)
    for row in 0..<input.sequences {
      add(
        count: hidden, memory.firstTokensGradient + row * hidden,
        to: memory.hiddenGradient + Int(input.starts[row]) * hidden)
    }
  }

  /// Copies the rows of first tokens from `x` `[tokens, H]` to `firstTokens` and returns it.
  private func gatherFirstTokens(
    _ input: PackedBatch, _ x: UnsafePointer<Float>
  ) -> UnsafeMutablePointer<Float> {
    let hidden = configuration.hiddenSize
    for row in 0..<input.sequences {
      (memory.firstTokens + row * hidden).update(from: x + Int(input.starts[row]) * hidden, count: hidden)
    }
    return memory.firstTokens
  }
}
