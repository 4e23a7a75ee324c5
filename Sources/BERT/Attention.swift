import Kernels

// Vaswani et al., arXiv 1706.03762: context = dropout(softmax(Q · Kᵀ / √d)) · V, for each sequence and head alone, so no
// mask is needed: a packed batch has no padding.

extension BertClassifier {
  private func attentionDropout(_ plan: DropoutPlan?) -> Dropout? {
    guard let plan, configuration.attentionDropout > 0 else { return nil }
    return Dropout(probability: Float(configuration.attentionDropout), seed: plan.seed, step: plan.step)
  }

  /// The address of the row of probabilities of each query.
  private func address(_ layer: Int, _ row: Int, _ head: Int) -> (Int) -> RandomAddress {
    let site = DropoutSite.attention(layer: layer).number
    return { query in
      RandomAddress(site: site, row: UInt32(truncatingIfNeeded: row), position: UInt32(head) << 16 | UInt32(query))
    }
  }

  /// Calls `body` for each sequence and head with the first token, the length, the head and where its probabilities lie.
  private func forEachHead(
    _ input: PackedInput, _ body: (_ sequence: Int, _ start: Int, _ length: Int, _ head: Int, _ offset: Int) -> Void
  ) {
    var offset = 0
    for sequence in 0..<input.sequences {
      let start = Int(input.starts[sequence])
      let length = Int(input.starts[sequence + 1]) - start
      for head in 0..<configuration.heads {
        body(sequence, start, length, head, offset)
        offset += length * length
      }
    }
  }

  /// Overwrites the layer's probabilities and context from its queries, keys and values.
  func attentionForward(_ layer: Int, _ input: PackedInput, _ dropout: DropoutPlan?) {
    let kept = memory.layers[layer]
    let hidden = configuration.hiddenSize
    let size = configuration.headSize
    let scale = 1 / Float(size).squareRoot()
    let dropout = attentionDropout(dropout)
    forEachHead(input) { sequence, start, length, head, offset in
      let query = kept.queryKeyValue + start * 3 * hidden + head * size  // [length, d], rows 3H apart
      let probabilities = kept.probabilities + offset  // [length, length]
      matrixProduct(
        rows: length, columns: length, depth: size, MatrixOperand(query, rowStride: 3 * hidden),
        MatrixOperand(query + hidden, rowStride: 3 * hidden).transposed, scale: scale, into: probabilities,
        outputStride: length)
      softmaxRows(rows: length, columns: length, x: probabilities)
      var weights = UnsafePointer(probabilities)
      if let dropout {
        dropoutScales(
          dropout, rows: length, columns: length, into: memory.attentionScales,
          address: address(layer, input.rows[sequence], head))
        multiply(count: length * length, probabilities, memory.attentionScales, into: memory.attentionScratch)
        weights = UnsafePointer(memory.attentionScratch)
      }
      matrixProduct(
        rows: length, columns: size, depth: length, MatrixOperand(weights, rowStride: length),
        MatrixOperand(query + 2 * hidden, rowStride: 3 * hidden), into: kept.context + start * hidden + head * size,
        outputStride: hidden)
    }
  }

  /// Overwrites `queryKeyValueGradient` from the gradient of the context.
  func attentionBackward(
    _ layer: Int, _ input: PackedInput, contextGradient: UnsafePointer<Float>, _ dropout: DropoutPlan?
  ) {
    let kept = memory.layers[layer]
    let hidden = configuration.hiddenSize
    let size = configuration.headSize
    let scale = 1 / Float(size).squareRoot()
    let dropout = attentionDropout(dropout)
    forEachHead(input) { sequence, start, length, head, offset in
      let count = length * length
      let query = kept.queryKeyValue + start * 3 * hidden + head * size  // [length, d], rows 3H apart
      let queryGradient = memory.queryKeyValueGradient + start * 3 * hidden + head * size
      let output = MatrixOperand(contextGradient + start * hidden + head * size, rowStride: hidden)
      let probabilities = kept.probabilities + offset  // [length, length]
      let gradient = memory.attentionGradient  // [length, length]

      matrixProduct(
        rows: length, columns: length, depth: size, output,
        MatrixOperand(query + 2 * hidden, rowStride: 3 * hidden).transposed, into: gradient, outputStride: length)
      var weights = UnsafePointer(probabilities)
      if let dropout {
        dropoutScales(
          dropout, rows: length, columns: length, into: memory.attentionScales,
          address: address(layer, input.rows[sequence], head))
        multiply(count: count, probabilities, memory.attentionScales, into: memory.attentionScratch)
        multiply(count: count, gradient, memory.attentionScales, into: gradient)
        weights = UnsafePointer(memory.attentionScratch)
      }
      matrixProduct(
        rows: length, columns: size, depth: length, MatrixOperand(weights, rowStride: length).transposed, output,
        into: queryGradient + 2 * hidden, outputStride: 3 * hidden)
      softmaxBackward(rows: length, columns: length, probabilities: probabilities, gradient: gradient)
      let scores = MatrixOperand(gradient, rowStride: length)
      matrixProduct(
        rows: length, columns: size, depth: length, scores, MatrixOperand(query + hidden, rowStride: 3 * hidden),
        scale: scale, into: queryGradient, outputStride: 3 * hidden)
      matrixProduct(
        rows: length, columns: size, depth: length, scores.transposed, MatrixOperand(query, rowStride: 3 * hidden),
        scale: scale, into: queryGradient + hidden, outputStride: 3 * hidden)
    }
  }
}
