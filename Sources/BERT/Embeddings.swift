import Batches
import Kernels

extension BertClassifier {
  private func norm(_ parameters: UnsafePointer<Float>) -> ResidualLayerNorm {
    ResidualLayerNorm(
      columns: configuration.embeddingSize, epsilon: Float(configuration.layerNormEpsilon),
      gain: parameters + layout.embeddings.norm.gain, shift: parameters + layout.embeddings.norm.shift)
  }

  /// hidden[0] = dropout(LayerNorm(word + type + position)), then · Wᵀ + b where embeddings have a size of their own.
  func embeddingsForward(_ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ dropout: DropoutPlan?) {
    let columns = configuration.embeddingSize
    let norm = norm(parameters)
    let target = layout.embeddings.projection == nil ? memory.hidden[0] : memory.embedded  // [tokens, E]
    let address = tokenAddress(.embeddings)
    let dropout = hiddenDropout(dropout)
    gemm.threads.forEachBlock(of: input.tokens, blockCount: Activations.rowBlock) { thread, block in
      let first = block.lowerBound
      let normalized = memory.embeddingNormalized + first * columns
      let output = target + first * columns
      let scratch = memory.rowScratches[thread]
      embed(
        tokens: block.count, columns: columns, words: parameters + layout.embeddings.word,
        wordIDs: input.tokenIDs + first, positions: parameters + layout.embeddings.position,
        positionIDs: memory.positionIDs + first, types: layout.embeddings.type.map { parameters + $0 },
        typeIDs: input.typeIDs + first, into: normalized)
      norm.forward(
        rows: block.count, x: normalized, bias: nil, residual: nil, dropout: nil,
        inverseDeviation: memory.embeddingDeviation + first, output: output, scratch: scratch, address: address)
      if let dropout {
        applyDropout(
          dropout, rows: block.count, columns: columns, x: output, scratch: scratch, address: { address(first + $0) })
      }
    }
    guard let projection = layout.embeddings.projection else { return }
    let hidden = configuration.hiddenSize
    project(
      .tokens(input.tokens), target, parameters + projection.weight, inputs: columns, outputs: hidden,
      into: memory.hidden[0])
    gemm.threads.forEachBlock(of: input.tokens, blockCount: Activations.rowBlock) { _, block in
      addBias(
        rows: block.count, columns: hidden, x: memory.hidden[0] + block.lowerBound * hidden,
        bias: parameters + projection.bias)
    }
  }

  /// Adds or overwrites the projection's gradients, from `hiddenGradient`.
  ///
  /// - Returns: the gradient of what is projected, `[tokens, E]`.
  private func projectionBackward(
    _ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ mode: OutputMode
  ) -> UnsafeMutablePointer<Float> {
    let gradient = memory.hiddenGradient  // [tokens, H]
    guard let projection = layout.embeddings.projection else { return gradient }
    let (hidden, size) = (configuration.hiddenSize, configuration.embeddingSize)
    weightGradient(
      .tokens(input.tokens), gradient, outputs: hidden, memory.embedded, inputs: size,
      into: gradients + projection.weight, mode)
    if let grouping {
      grouping.overwriteVectors(at: gradients + projection.bias, count: hidden) { group, output, part in
        let own = grouping.lines(.tokens(input.tokens), of: group)
        columnSums(
          rows: own.count, columns: part.count, gradient + own.lowerBound * hidden + part.lowerBound,
          rowStride: hidden, into: output + part.lowerBound, .overwrite)
      }
    } else {
      gemm.threads.forEachPart(of: hidden, grain: 64) { _, part in
        columnSums(
          rows: input.tokens, columns: part.count, gradient + part.lowerBound, rowStride: hidden,
          into: gradients + projection.bias + part.lowerBound, .add)
      }
    }
    inputGradient(
      .tokens(input.tokens), gradient, outputs: hidden, parameters + projection.weight, inputs: size,
      into: memory.embeddedGradient, .overwrite)
    return memory.embeddedGradient
  }

  /// Adds the gradients of the tables and the norm, from `hiddenGradient`, which is overwritten; adds or overwrites the
  /// projection's.
  func embeddingsBackward(
    _ input: PackedBatch, _ parameters: UnsafePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    _ mode: OutputMode, _ dropout: DropoutPlan?
  ) {
    let columns = configuration.embeddingSize
    let gradient = projectionBackward(input, parameters, gradients, mode)  // [tokens, E]
    let address = tokenAddress(.embeddings)
    if let dropout = hiddenDropout(dropout) {
      gemm.threads.forEachBlock(of: input.tokens, blockCount: Activations.rowBlock) { thread, block in
        applyDropout(
          dropout, rows: block.count, columns: columns, x: gradient + block.lowerBound * columns,
          scratch: memory.rowScratches[thread], address: { address(block.lowerBound + $0) })
      }
    }
    normBackward(
      .tokens(input.tokens), norm(parameters), normalized: memory.embeddingNormalized,
      inverseDeviation: memory.embeddingDeviation, gradient: gradient, branch: nil, nil,
      gain: gradients + layout.embeddings.norm.gain, shift: gradients + layout.embeddings.norm.shift, bias: nil, address
    )
    let paddingPosition = configuration.paddingPosition.map { Int32($0) }
    if let grouping {
      let embeddings = layout.embeddings
      grouping.overwriteWordTable(
        layout.wordTable, ids: input.tokenIDs, skippedID: configuration.padTokenID, gradient)
      grouping.overwriteTable(
        at: embeddings.position, rows: configuration.positionRows, ids: memory.positionIDs,
        skippedID: paddingPosition, gradient)
      if let type = embeddings.type {
        grouping.overwriteTable(at: type, rows: configuration.tokenTypes, ids: input.typeIDs, gradient)
      }
      return
    }
    // Tokens of one id meet in one row, so threads share out the columns.
    gemm.threads.forEachPart(of: columns, grain: 64) { _, part in
      func add(_ ids: UnsafePointer<Int32>, skippedID: Int32? = nil, to table: Int?) {
        guard let table else { return }
        embedBackward(
          tokens: input.tokens, width: columns, part, ids: ids, skippedID: skippedID, gradient: gradient,
          into: gradients + table)
      }
      add(input.tokenIDs, skippedID: configuration.padTokenID, to: layout.embeddings.word)
      add(memory.positionIDs, skippedID: paddingPosition, to: layout.embeddings.position)
      add(input.typeIDs, to: layout.embeddings.type)
    }
  }
}
