import Kernels

extension BertClassifier {
  private func norm(_ parameters: UnsafePointer<Float>) -> ResidualLayerNorm {
    ResidualLayerNorm(
      columns: configuration.hiddenSize, epsilon: Float(configuration.layerNormEpsilon),
      gain: parameters + layout.embeddings.norm.gain, shift: parameters + layout.embeddings.norm.shift)
  }

  /// hidden[0] = dropout(LayerNorm(word + type + position)).
  func embeddingsForward(_ input: PackedInput, _ parameters: UnsafePointer<Float>, _ dropout: DropoutPlan?) {
    let columns = configuration.hiddenSize
    embed(
      tokens: input.tokens, columns: columns, words: parameters + layout.embeddings.word, wordIDs: input.tokenIDs,
      positions: parameters + layout.embeddings.position, positionIDs: memory.positions,
      types: parameters + layout.embeddings.type, typeIDs: input.typeIDs, into: memory.embeddingNormalized)
    let address = tokenAddress(.embeddings)
    norm(parameters).forward(
      rows: input.tokens, x: memory.embeddingNormalized, bias: nil, residual: nil, dropout: nil,
      inverseDeviation: memory.embeddingDeviation, output: memory.hidden[0], scratch: memory.rowScratch,
      address: address)
    if let dropout = hiddenDropout(dropout) {
      applyDropout(
        dropout, rows: input.tokens, columns: columns, x: memory.hidden[0], scratch: memory.rowScratch,
        address: address)
    }
  }

  /// Adds the gradients of the three tables and the norm, from `hiddenGradient`, which is overwritten.
  func embeddingsBackward(
    _ input: PackedInput, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ dropout: DropoutPlan?
  ) {
    let columns = configuration.hiddenSize
    let gradient = memory.hiddenGradient  // [tokens, H]
    if let dropout = hiddenDropout(dropout) {
      applyDropout(
        dropout, rows: input.tokens, columns: columns, x: gradient, scratch: memory.rowScratch,
        address: tokenAddress(.embeddings))
    }
    norm(parameters).backward(
      rows: input.tokens, normalized: memory.embeddingNormalized, inverseDeviation: memory.embeddingDeviation,
      gradient: gradient, gainGradient: gradients + layout.embeddings.norm.gain,
      shiftGradient: gradients + layout.embeddings.norm.shift)
    embedBackward(
      tokens: input.tokens, columns: columns, ids: input.tokenIDs, skippedID: configuration.padTokenID,
      gradient: gradient, into: gradients + layout.embeddings.word)
    embedBackward(
      tokens: input.tokens, columns: columns, ids: memory.positions, gradient: gradient,
      into: gradients + layout.embeddings.position)
    embedBackward(
      tokens: input.tokens, columns: columns, ids: input.typeIDs, gradient: gradient,
      into: gradients + layout.embeddings.type)
  }
}
