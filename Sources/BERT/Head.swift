import Batches
import Kernels

extension BertClassifier {
  private func classifierDropout(_ plan: DropoutPlan?) -> Dropout? {
    plan.map { Dropout(probability: Float(configuration.classifierDropout), seed: $0.seed, step: $0.step) }
  }

  /// What the head's dense layer takes, `[sequences, H]`: the encoder's output at first tokens, after dropout where the
  /// family has one there.
  private var denseInput: UnsafeMutablePointer<Float> {
    configuration.family.head.dropsInput ? memory.headInput : memory.hidden[configuration.layers]
  }

  /// Applies the head's first dropout, its own backward.
  private func dropInput(_ x: UnsafeMutablePointer<Float>, _ input: PackedBatch, _ plan: DropoutPlan?) {
    guard configuration.family.head.dropsInput, let dropout = classifierDropout(plan) else { return }
    applyDropout(
      dropout, rows: input.sequences, columns: configuration.hiddenSize, x: x, scratch: memory.rowScratch,
      address: firstTokenAddress(.headInput, input))
  }

  /// pooled = f(pooled + b), the head's activation.
  private func activateHead(_ rows: Int, bias: UnsafePointer<Float>) {
    let hidden = configuration.hiddenSize
    let activation = configuration.family.head.activation
    if activation == .tanh { return biasTanh(rows: rows, columns: hidden, x: memory.pooled, bias: bias) }
    memory.headSlopes.update(from: memory.pooled, count: rows * hidden)
    biasActivation(
      activation, rows: rows, columns: hidden, x: memory.headSlopes, bias: bias, into: memory.pooled,
      keepsSlopes: memory.keepsForBackward)
  }

  /// logits = dropout(f([dropout](first token) · Wᵀ + b)) · Wᵀ + b; f is tanh in BERT.
  func headForward(_ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ dropout: DropoutPlan?) {
    let hidden = configuration.hiddenSize
    let rows = input.sequences
    if configuration.family.head.dropsInput {
      memory.headInput.update(from: memory.hidden[configuration.layers], count: rows * hidden)
      dropInput(memory.headInput, input, dropout)
    }
    project(
      .firstTokens(rows), denseInput, parameters + layout.pooler.weight, inputs: hidden, outputs: hidden,
      into: memory.pooled)
    activateHead(rows, bias: parameters + layout.pooler.bias)
    memory.pooledDropped.update(from: memory.pooled, count: rows * hidden)
    if let dropout = classifierDropout(dropout) {
      applyDropout(
        dropout, rows: rows, columns: hidden, x: memory.pooledDropped, scratch: memory.rowScratch,
        address: firstTokenAddress(.classifier, input))
    }
    project(
      .firstTokens(rows), memory.pooledDropped, parameters + layout.classifier.weight, inputs: hidden,
      outputs: configuration.labels, into: memory.logits)
    addBias(
      rows: rows, columns: configuration.labels, x: memory.logits, bias: parameters + layout.classifier.bias)
  }

  /// Adds the columns' sums of `x` `[rows, columns]` to a bias's gradient.
  private func addUpRows(
    _ rows: Int, columns: Int, _ x: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>
  ) {
    guard let grouping else { return columnSums(rows: rows, columns: columns, x, into: output, .add) }
    grouping.overwriteVectors(at: output, count: columns) { group, output, part in
      let own = grouping.rows(of: group)
      columnSums(
        rows: own.count, columns: part.count, x + own.lowerBound * columns + part.lowerBound, rowStride: columns,
        into: output + part.lowerBound, .overwrite)
    }
  }

  /// Overwrites `firstTokensGradient` with the gradient of the encoder's output at first tokens.
  func headBackward(
    _ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ mode: OutputMode, _ dropout: DropoutPlan?
  ) {
    let hidden = configuration.hiddenSize
    let labels = configuration.labels
    let rows = input.sequences
    let gradient = memory.headGradient  // [sequences, H]
    weightGradient(
      .firstTokens(rows), memory.logitsGradient, outputs: labels, memory.pooledDropped, inputs: hidden,
      into: gradients + layout.classifier.weight, mode)
    addUpRows(rows, columns: labels, memory.logitsGradient, into: gradients + layout.classifier.bias)
    inputGradient(
      .firstTokens(rows), memory.logitsGradient, outputs: labels, parameters + layout.classifier.weight, inputs: hidden,
      into: gradient, .overwrite)
    if let dropout = classifierDropout(dropout) {
      applyDropout(
        dropout, rows: rows, columns: hidden, x: gradient, scratch: memory.rowScratch,
        address: firstTokenAddress(.classifier, input))
    }
    if configuration.family.head.activation == .tanh {
      tanhBackward(count: rows * hidden, y: memory.pooled, gradient: gradient)
    } else {
      multiply(count: rows * hidden, gradient, memory.headSlopes, into: gradient)
    }
    weightGradient(
      .firstTokens(rows), gradient, outputs: hidden, denseInput, inputs: hidden,
      into: gradients + layout.pooler.weight, mode)
    addUpRows(rows, columns: hidden, gradient, into: gradients + layout.pooler.bias)
    inputGradient(
      .firstTokens(rows), gradient, outputs: hidden, parameters + layout.pooler.weight, inputs: hidden,
      into: memory.firstTokensGradient, .overwrite)
    dropInput(memory.firstTokensGradient, input, dropout)
  }
}
