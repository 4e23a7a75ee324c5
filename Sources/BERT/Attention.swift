import Kernels

// Vaswani et al., arXiv 1706.03762: context = dropout(softmax(Q · Kᵀ / √d)) · V, for each sequence and head alone, so no
// mask is needed: a packed batch has no padding.

/// Where the queries, keys and values of a layer lie, or their gradients.
///
/// Usually side by side, `[tokens, 3H]`. In the last layer, whose output is needed at first tokens only: keys and values
/// `[tokens, 2H]`, behind them the queries of first tokens `[sequences, H]`.
struct AttentionView {
  let queries: UnsafeMutablePointer<Float>
  let keys: UnsafeMutablePointer<Float>
  let values: UnsafeMutablePointer<Float>
  let queryStride: Int
  let keyStride: Int
  let firstTokensOnly: Bool

  init(_ memory: UnsafeMutablePointer<Float>, tokens: Int, hidden: Int, firstTokensOnly: Bool) {
    self.firstTokensOnly = firstTokensOnly
    keys = memory + (firstTokensOnly ? 0 : hidden)
    values = keys + hidden
    queries = memory + (firstTokensOnly ? 2 * hidden * tokens : 0)
    queryStride = firstTokensOnly ? hidden : 3 * hidden
    keyStride = firstTokensOnly ? 2 * hidden : 3 * hidden
  }
}

extension BertClassifier {
  private func attentionDropout(_ plan: DropoutPlan?) -> Dropout? {
    guard let plan, configuration.attentionDropout > 0 else { return nil }
    return Dropout(probability: Float(configuration.attentionDropout), seed: plan.seed, step: plan.step)
  }

  /// Whether only first tokens are needed of a layer's output: the head reads nothing else of the last one.
  func needsFirstTokensOnly(_ layer: Int) -> Bool { layer == configuration.layers - 1 }

  /// One head of one sequence: rows of its queries (and context), of its keys and values, and its probabilities.
  private struct HeadPlace {
    var queryRow: Int
    var queries: Int
    var keyRow: Int
    var length: Int
    /// First column of the head.
    var column: Int
    var probabilities: Int
    var address: (Int) -> RandomAddress
  }

  /// Calls `body` for every head of every sequence, with the thread that it runs on.
  private func forEachHead(_ layer: Int, _ input: PackedInput, _ body: (HeadPlace, Int) -> Void) {
    let firstOnly = needsFirstTokensOnly(layer)
    let site = DropoutSite.attention(layer: layer).number
    let heads = configuration.heads
    multiplier.threads.forEachPart(of: input.sequences * heads) { thread, items in
      // Of all sequences before, and of this one's heads before, the probabilities come first.
      var offset = 0
      var counted = 0
      for item in items {
        let sequence = item / heads
        while counted < sequence {
          let length = input.length(counted)
          offset += heads * (firstOnly ? 1 : length) * length
          counted += 1
        }
        let start = Int(input.starts[sequence])
        let length = input.length(sequence)
        let head = item % heads
        let queries = firstOnly ? 1 : length
        let row = UInt32(truncatingIfNeeded: input.rows[sequence])
        let place = HeadPlace(
          queryRow: firstOnly ? sequence : start, queries: queries, keyRow: start, length: length,
          column: head * configuration.headSize, probabilities: offset + head * queries * length,
          address: { RandomAddress(site: site, row: row, position: UInt32(head) << 16 | UInt32($0)) })
        body(place, thread)
      }
    }
  }

  /// Overwrites the layer's probabilities and context from its queries, keys and values.
  func attentionForward(_ layer: Int, _ input: PackedInput, _ view: AttentionView, _ dropout: DropoutPlan?) {
    let kept = memory.layers[layer]
    let hidden = configuration.hiddenSize
    let size = configuration.headSize
    let scale = 1 / Float(size).squareRoot()
    let dropout = attentionDropout(dropout)
    forEachHead(layer, input) { place, thread in
      let (queries, length) = (place.queries, place.length)
      let scratch = memory.attention[thread]
      let query = MatrixOperand(
        view.queries + place.queryRow * view.queryStride + place.column, rowStride: view.queryStride)
      let key = MatrixOperand(view.keys + place.keyRow * view.keyStride + place.column, rowStride: view.keyStride)
      let value = MatrixOperand(view.values + place.keyRow * view.keyStride + place.column, rowStride: view.keyStride)
      let probabilities = kept.probabilities + place.probabilities  // [queries, length]
      matrixProduct(
        rows: queries, columns: length, depth: size, query, key.transposed, scale: scale, into: probabilities,
        outputStride: length)
      softmaxRows(rows: queries, columns: length, x: probabilities)
      var weights = UnsafePointer(probabilities)
      if let dropout {
        dropoutScales(
          dropout, rows: queries, columns: length, into: scratch.scales, address: place.address)
        multiply(count: queries * length, probabilities, scratch.scales, into: scratch.weights)
        weights = UnsafePointer(scratch.weights)
      }
      matrixProduct(
        rows: queries, columns: size, depth: length, MatrixOperand(weights, rowStride: length), value,
        into: kept.context + place.queryRow * hidden + place.column, outputStride: hidden)
    }
  }

  /// Overwrites the gradients of queries, keys and values from that of the context, `[queries, H]`.
  func attentionBackward(
    _ layer: Int, _ input: PackedInput, _ view: AttentionView, contextGradient: UnsafePointer<Float>,
    into gradients: AttentionView, _ dropout: DropoutPlan?
  ) {
    let kept = memory.layers[layer]
    let hidden = configuration.hiddenSize
    let size = configuration.headSize
    let scale = 1 / Float(size).squareRoot()
    let dropout = attentionDropout(dropout)
    forEachHead(layer, input) { place, thread in
      let (queries, length) = (place.queries, place.length)
      let scratch = memory.attention[thread]
      let queryPlace = place.queryRow * view.queryStride + place.column
      let keyPlace = place.keyRow * view.keyStride + place.column
      let output = MatrixOperand(contextGradient + place.queryRow * hidden + place.column, rowStride: hidden)
      let probabilities = kept.probabilities + place.probabilities  // [queries, length]
      let gradient = scratch.gradient  // [queries, length]

      matrixProduct(
        rows: queries, columns: length, depth: size, output,
        MatrixOperand(view.values + keyPlace, rowStride: view.keyStride).transposed, into: gradient,
        outputStride: length)
      var weights = UnsafePointer(probabilities)
      if let dropout {
        dropoutScales(
          dropout, rows: queries, columns: length, into: scratch.scales, address: place.address)
        multiply(count: queries * length, probabilities, scratch.scales, into: scratch.weights)
        multiply(count: queries * length, gradient, scratch.scales, into: gradient)
        weights = UnsafePointer(scratch.weights)
      }
      matrixProduct(
        rows: length, columns: size, depth: queries, MatrixOperand(weights, rowStride: length).transposed, output,
        into: gradients.values + keyPlace, outputStride: gradients.keyStride)
      softmaxBackward(rows: queries, columns: length, probabilities: probabilities, gradient: gradient)
      let scores = MatrixOperand(gradient, rowStride: length)
      matrixProduct(
        rows: queries, columns: size, depth: length, scores,
        MatrixOperand(view.keys + keyPlace, rowStride: view.keyStride), scale: scale,
        into: gradients.queries + queryPlace, outputStride: gradients.queryStride)
      matrixProduct(
        rows: length, columns: size, depth: queries, scores.transposed,
        MatrixOperand(view.queries + queryPlace, rowStride: view.queryStride), scale: scale,
        into: gradients.keys + keyPlace, outputStride: gradients.keyStride)
    }
  }
}
