import Kernels

extension BertClassifier {
  private func classifierDropout(_ plan: DropoutPlan?) -> Dropout? {
    plan.map { Dropout(probability: Float(configuration.classifierDropout), seed: $0.seed, step: $0.step) }
  }

  private func sequenceAddress(_ input: PackedInput) -> (Int) -> RandomAddress {
    let site = DropoutSite.classifier.number
    return { RandomAddress(site: site, row: UInt32(truncatingIfNeeded: input.rows[$0]), position: 0) }
  }

  /// logits = dropout(tanh(first token · Wᵀ + b)) · Wᵀ + b.
  func headForward(_ input: PackedInput, _ parameters: UnsafePointer<Float>, _ dropout: DropoutPlan?) {
    let hidden = configuration.hiddenSize
    let rows = input.sequences
    let encoded = memory.hidden[configuration.layers]
    for row in 0..<rows {
      (memory.firstTokens + row * hidden).update(from: encoded + Int(input.starts[row]) * hidden, count: hidden)
    }
    project(rows, memory.firstTokens, layout.pooler, parameters, inputs: hidden, outputs: hidden, into: memory.pooled)
    biasTanh(rows: rows, columns: hidden, x: memory.pooled, bias: parameters + layout.pooler.bias)
    memory.pooledDropped.update(from: memory.pooled, count: rows * hidden)
    if let dropout = classifierDropout(dropout) {
      applyDropout(
        dropout, rows: rows, columns: hidden, x: memory.pooledDropped, scratch: memory.rowScratch,
        address: sequenceAddress(input))
    }
    project(
      rows, memory.pooledDropped, layout.classifier, parameters, inputs: hidden, outputs: configuration.labels,
      into: memory.logits)
    addBias(
      rows: rows, columns: configuration.labels, x: memory.logits, bias: parameters + layout.classifier.bias)
  }

  /// Overwrites `hiddenGradient` with the gradient of the encoder's output.
  func headBackward(
    _ input: PackedInput, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ mode: OutputMode, _ dropout: DropoutPlan?
  ) {
    let hidden = configuration.hiddenSize
    let labels = configuration.labels
    let rows = input.sequences
    let gradient = memory.headGradient  // [sequences, H]
    weightGradient(
      rows, memory.logitsGradient, outputs: labels, memory.pooledDropped, inputs: hidden,
      into: gradients + layout.classifier.weight, mode)
    columnSums(
      rows: rows, columns: labels, memory.logitsGradient, into: gradients + layout.classifier.bias, .add)
    inputGradient(
      rows, memory.logitsGradient, outputs: labels, parameters + layout.classifier.weight, inputs: hidden,
      into: gradient, .overwrite)
    if let dropout = classifierDropout(dropout) {
      applyDropout(
        dropout, rows: rows, columns: hidden, x: gradient, scratch: memory.rowScratch,
        address: sequenceAddress(input))
    }
    tanhBackward(count: rows * hidden, y: memory.pooled, gradient: gradient)
    weightGradient(
      rows, gradient, outputs: hidden, memory.firstTokens, inputs: hidden, into: gradients + layout.pooler.weight, mode)
    columnSums(rows: rows, columns: hidden, gradient, into: gradients + layout.pooler.bias, .add)

    // Only first tokens reach the head; firstTokens is not needed any more and takes their gradient.
    inputGradient(
      rows, gradient, outputs: hidden, parameters + layout.pooler.weight, inputs: hidden, into: memory.firstTokens,
      .overwrite)
    memory.hiddenGradient.update(repeating: 0, count: input.tokens * hidden)
    for row in 0..<rows {
      (memory.hiddenGradient + Int(input.starts[row]) * hidden).update(
        from: memory.firstTokens + row * hidden, count: hidden)
    }
  }
}
