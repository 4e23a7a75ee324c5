import Batches
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
    var sequence: Int
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
  private func forEachHead(_ layer: Int, _ input: PackedBatch, _ body: (HeadPlace, Int) -> Void) {
    let firstOnly = needsFirstTokensOnly(layer)
    let site = DropoutSite.attention(layer: layer).number
    let heads = configuration.heads
    gemm.threads.forEachItem(of: input.sequences * heads) { thread, item in
      let (sequence, head) = item.quotientAndRemainder(dividingBy: heads)
      let start = Int(input.starts[sequence])
      let length = input.length(sequence)
      let queries = firstOnly ? 1 : length
      let row = UInt32(truncatingIfNeeded: input.rows[sequence])
      let place = HeadPlace(
        sequence: sequence, queryRow: firstOnly ? sequence : start, queries: queries, keyRow: start, length: length,
        column: head * configuration.headSize,
        probabilities: heads * memory.squares[sequence] + head * queries * Activations.padded(length),
        address: { RandomAddress(site: site, row: row, position: UInt32(head) << 16 | UInt32($0)) })
      body(place, thread)
    }
  }

  /// Overwrites the layer's probabilities and context from its queries, keys and values, after adding their biases.
  ///
  /// - Parameter bias: `[3H]`.
  func attentionForward(
    _ layer: Int, _ input: PackedBatch, _ view: AttentionView, bias: UnsafePointer<Float>, _ dropout: DropoutPlan?
  ) {
    let kept = memory.layers[layer]
    let hidden = configuration.hiddenSize
    let size = configuration.headSize
    let dropout = attentionDropout(dropout)
    forEachHead(layer, input) { place, thread in
      let (queries, length) = (place.queries, place.length)
      let stride = Activations.padded(length)
      let scratch = memory.attention[thread]
      let query = view.queries + place.queryRow * view.queryStride + place.column
      let key = view.keys + place.keyRow * view.keyStride + place.column
      let value = view.values + place.keyRow * view.keyStride + place.column
      let headBias = bias + place.column
      addBias(rows: queries, columns: size, x: query, rowStride: view.queryStride, bias: headBias)
      addBias(rows: length, columns: size, x: key, rowStride: view.keyStride, bias: headBias + hidden)
      addBias(rows: length, columns: size, x: value, rowStride: view.keyStride, bias: headBias + 2 * hidden)

      let probabilities = kept.probabilities + place.probabilities  // [queries, padded length]
      transpose(
        rows: length, columns: size, key, rowStride: view.keyStride, into: scratch.transposed, outputStride: stride)
      smallProduct(
        rows: queries, columns: stride, depth: size, scale: 1 / Float(size).squareRoot(), query,
        aRowStride: view.queryStride, aDepthStride: 1, scratch.transposed, bStride: stride, into: probabilities,
        outputStride: stride)
      softmaxRows(rows: queries, columns: length, x: probabilities, rowStride: stride)
      var weights = UnsafePointer(probabilities)
      if let dropout {
        dropoutScales(dropout, rows: queries, columns: stride, into: scratch.scales, address: place.address)
        multiply(count: queries * stride, probabilities, scratch.scales, into: scratch.weights)
        weights = UnsafePointer(scratch.weights)
      }
      smallProduct(
        rows: queries, columns: size, depth: length, weights, aRowStride: stride, aDepthStride: 1, value,
        bStride: view.keyStride, into: kept.context + place.queryRow * hidden + place.column, outputStride: hidden)
    }
  }

  /// Overwrites the gradients of queries, keys and values from that of the context, `[queries, H]`, and adds those of
  /// their biases.
  func attentionBackward(
    _ layer: Int, _ input: PackedBatch, _ view: AttentionView, contextGradient: UnsafePointer<Float>,
    into gradients: AttentionView, biasGradient: UnsafeMutablePointer<Float>, _ dropout: DropoutPlan?
  ) {
    let kept = memory.layers[layer]
    let hidden = configuration.hiddenSize
    let size = configuration.headSize
    let scale = 1 / Float(size).squareRoot()
    let dropout = attentionDropout(dropout)
    forEachHead(layer, input) { place, thread in
      let (queries, length) = (place.queries, place.length)
      let stride = Activations.padded(length)
      let scratch = memory.attention[thread]
      let queryPlace = place.queryRow * view.queryStride + place.column
      let keyPlace = place.keyRow * view.keyStride + place.column
      let output = contextGradient + place.queryRow * hidden + place.column  // [queries, size]
      let probabilities = kept.probabilities + place.probabilities  // [queries, padded length]
      let gradient = scratch.gradient  // [queries, padded length]

      transpose(
        rows: length, columns: size, view.values + keyPlace, rowStride: view.keyStride, into: scratch.transposed,
        outputStride: stride)
      smallProduct(
        rows: queries, columns: stride, depth: size, output, aRowStride: hidden, aDepthStride: 1, scratch.transposed,
        bStride: stride, into: gradient, outputStride: stride)
      var weights = UnsafePointer(probabilities)
      if let dropout {
        dropoutScales(dropout, rows: queries, columns: stride, into: scratch.scales, address: place.address)
        multiply(count: queries * stride, probabilities, scratch.scales, into: scratch.weights)
        multiply(count: queries * stride, gradient, scratch.scales, into: gradient)
        weights = UnsafePointer(scratch.weights)
      }
      let values = gradients.values + keyPlace
      smallProduct(
        rows: length, columns: size, depth: queries, weights, aRowStride: 1, aDepthStride: stride, output,
        bStride: hidden, into: values, outputStride: gradients.keyStride)
      softmaxBackward(rows: queries, columns: stride, probabilities: probabilities, gradient: gradient)
      let query = gradients.queries + queryPlace
      smallProduct(
        rows: queries, columns: size, depth: length, scale: scale, gradient, aRowStride: stride, aDepthStride: 1,
        view.keys + keyPlace, bStride: view.keyStride, into: query, outputStride: gradients.queryStride)
      let key = gradients.keys + keyPlace
      smallProduct(
        rows: length, columns: size, depth: queries, scale: scale, gradient, aRowStride: 1, aDepthStride: stride,
        view.queries + queryPlace, bStride: view.queryStride, into: key, outputStride: gradients.keyStride)

      let sums = memory.blockSums + place.sequence * 3 * hidden + place.column
      columnSums(rows: queries, columns: size, query, rowStride: gradients.queryStride, into: sums, .overwrite)
      columnSums(rows: length, columns: size, key, rowStride: gradients.keyStride, into: sums + hidden, .overwrite)
      columnSums(
        rows: length, columns: size, values, rowStride: gradients.keyStride, into: sums + 2 * hidden, .overwrite)
    }
    addUp(input.sequences, width: 3 * hidden, columns: 3 * hidden, (biasGradient, nil, nil)) { grouping, group in
      grouping.rows(of: group)
    }
  }
}
