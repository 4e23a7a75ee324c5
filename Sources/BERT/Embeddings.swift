import Batches
import Kernels

extension BertClassifier {
  private func norm(_ parameters: UnsafePointer<Float>) -> ResidualLayerNorm {
    ResidualLayerNorm(
      columns: configuration.hiddenSize, epsilon: Float(configuration.layerNormEpsilon),
      gain: parameters + layout.embeddings.norm.gain, shift: parameters + layout.embeddings.norm.shift)
  }

  /// hidden[0] = dropout(LayerNorm(word + type + position)).
  func embeddingsForward(_ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ dropout: DropoutPlan?) {
    let columns = configuration.hiddenSize
    let norm = norm(parameters)
    let address = tokenAddress(.embeddings)
    let dropout = hiddenDropout(dropout)
    gemm.threads.forEachBlock(of: input.tokens, blockCount: Activations.rowBlock) { thread, block in
      let first = block.lowerBound
      let normalized = memory.embeddingNormalized + first * columns
      let output = memory.hidden[0] + first * columns
      let scratch = memory.rowScratches[thread]
      embed(
        tokens: block.count, columns: columns, words: parameters + layout.embeddings.word,
        wordIDs: input.tokenIDs + first, positions: parameters + layout.embeddings.position,
        positionIDs: memory.positions + first, types: parameters + layout.embeddings.type,
        typeIDs: input.typeIDs + first, into: normalized)
      norm.forward(
        rows: block.count, x: normalized, bias: nil, residual: nil, dropout: nil,
        inverseDeviation: memory.embeddingDeviation + first, output: output, scratch: scratch, address: address)
      if let dropout {
        applyDropout(
          dropout, rows: block.count, columns: columns, x: output, scratch: scratch, address: { address(first + $0) })
      }
    }
  }

  /// Adds the gradients of the three tables and the norm, from `hiddenGradient`, which is overwritten.
  func embeddingsBackward(
    _ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ dropout: DropoutPlan?
  ) {
    let columns = configuration.hiddenSize
    let gradient = memory.hiddenGradient  // [tokens, H]
    let address = tokenAddress(.embeddings)
    if let dropout = hiddenDropout(dropout) {
      gemm.threads.forEachBlock(of: input.tokens, blockCount: Activations.rowBlock) { thread, block in
        applyDropout(
          dropout, rows: block.count, columns: columns, x: gradient + block.lowerBound * columns,
          scratch: memory.rowScratches[thread], address: { address(block.lowerBound + $0) })
      }
    }
    normBackward(
      input.tokens, norm(parameters), normalized: memory.embeddingNormalized,
      inverseDeviation: memory.embeddingDeviation, gradient: gradient, branch: nil, nil,
      gain: gradients + layout.embeddings.norm.gain, shift: gradients + layout.embeddings.norm.shift, bias: nil, address
    )
    // Tokens of one id meet in one row, so threads share out the columns.
    gemm.threads.forEachPart(of: columns, grain: 64) { _, part in
      func add(_ ids: UnsafePointer<Int32>, skippedID: Int32? = nil, to table: Int) {
        embedBackward(
          tokens: input.tokens, width: columns, part, ids: ids, skippedID: skippedID, gradient: gradient,
          into: gradients + table)
      }
      add(input.tokenIDs, skippedID: configuration.padTokenID, to: layout.embeddings.word)
      add(memory.positions, to: layout.embeddings.position)
      add(input.typeIDs, to: layout.embeddings.type)
    }
  }
}
