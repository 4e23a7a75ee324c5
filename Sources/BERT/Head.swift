import Batches
import Kernels

extension BertClassifier {
  private func classifierDropout(_ plan: DropoutPlan?) -> Dropout? {
    plan.map { Dropout(probability: Float(configuration.classifierDropout), seed: $0.seed, step: $0.step) }
  }

  /// logits = dropout(tanh(first token · Wᵀ + b)) · Wᵀ + b.
  func headForward(_ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ dropout: DropoutPlan?) {
    let hidden = configuration.hiddenSize
    let rows = input.sequences
    let encoded = memory.hidden[configuration.layers]  // [sequences, H]: first tokens only
    project(
      .firstTokens(rows), encoded, parameters + layout.pooler.weight, inputs: hidden, outputs: hidden,
      into: memory.pooled)
    biasTanh(rows: rows, columns: hidden, x: memory.pooled, bias: parameters + layout.pooler.bias)
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
    columnSums(
      rows: rows, columns: labels, memory.logitsGradient, into: gradients + layout.classifier.bias, .add)
    inputGradient(
      .firstTokens(rows), memory.logitsGradient, outputs: labels, parameters + layout.classifier.weight, inputs: hidden,
      into: gradient, .overwrite)
    if let dropout = classifierDropout(dropout) {
      applyDropout(
        dropout, rows: rows, columns: hidden, x: gradient, scratch: memory.rowScratch,
        address: firstTokenAddress(.classifier, input))
    }
    tanhBackward(count: rows * hidden, y: memory.pooled, gradient: gradient)
    weightGradient(
      .firstTokens(rows), gradient, outputs: hidden, memory.hidden[configuration.layers], inputs: hidden,
      into: gradients + layout.pooler.weight, mode)
    columnSums(rows: rows, columns: hidden, gradient, into: gradients + layout.pooler.bias, .add)
    inputGradient(
      .firstTokens(rows), gradient, outputs: hidden, parameters + layout.pooler.weight, inputs: hidden,
      into: memory.firstTokensGradient, .overwrite)
  }
}
