import Kernels

/// Memory that one model needs to compute: what forward leaves for backward, and scratch. Allocated once, for the
/// largest batch; pages that no batch reaches are never touched and so never count.
///
/// Where nothing is kept for backward, all layers share one layer's memory.
final class Activations {
  /// What one layer leaves for backward.
  struct Layer {
    var queryKeyValue: UnsafeMutablePointer<Float>  // [tokens, 3H]; as AttentionView says
    var probabilities: UnsafeMutablePointer<Float>  // [heads, queries, padded length] for each sequence
    var context: UnsafeMutablePointer<Float>  // [tokens, H]
    var attentionNormalized: UnsafeMutablePointer<Float>  // [tokens, H]
    var attentionDeviation: UnsafeMutablePointer<Float>  // [tokens]
    var attentionOutput: UnsafeMutablePointer<Float>  // [tokens, H]
    var slopes: UnsafeMutablePointer<Float>  // [tokens, I]: first what the activation is applied to
    var activated: UnsafeMutablePointer<Float>  // [tokens, I]
    var outputNormalized: UnsafeMutablePointer<Float>  // [tokens, H]
    var outputDeviation: UnsafeMutablePointer<Float>  // [tokens]
  }

  /// What one thread needs for one head.
  struct AttentionScratch {
    var transposed: UnsafeMutablePointer<Float>  // [head size, padded length]
    var scales: UnsafeMutablePointer<Float>  // [length, padded length] + room for dropout
    var weights: UnsafeMutablePointer<Float>  // [length, padded length]
    var gradient: UnsafeMutablePointer<Float>  // [length, padded length]
  }

  /// Rows that one thread takes at a time, and whose sums are taken apart: the same for any number of threads.
  static let rowBlock = 16

  /// The distance between the rows of a sequence's probabilities: no row ends within a vector.
  static func padded(_ length: Int) -> Int { (length + 15) / 16 * 16 }

  let limits: BatchLimits
  let keepsForBackward: Bool

  let positions: UnsafeMutablePointer<Int32>  // [tokens]: each token's place in its sequence
  /// `[tokens]`: rows of the table of positions; where these are the places, the same memory.
  let positionIDs: UnsafeMutablePointer<Int32>
  let tokenRows: UnsafeMutablePointer<UInt32>  // [tokens]: the data set's row of each token
  let squares: UnsafeMutablePointer<Int>  // [sequences]: probabilities of one head, of all sequences before
  let embeddingNormalized: UnsafeMutablePointer<Float>  // [tokens, E]
  let embeddingDeviation: UnsafeMutablePointer<Float>  // [tokens]
  /// What is projected to the first layer's input, and its gradient: `[tokens, E]`; nothing where embeddings have the
  /// encoder's size.
  let embedded: UnsafeMutablePointer<Float>
  let embeddedGradient: UnsafeMutablePointer<Float>
  /// Input of each layer: `[tokens, H]`; and the last one's output: `[sequences, H]`, first tokens only.
  let hidden: [UnsafeMutablePointer<Float>]
  let layers: [Layer]
  let firstTokens: UnsafeMutablePointer<Float>  // [sequences, H]: the last layer's input at first tokens
  let headInput: UnsafeMutablePointer<Float>  // [sequences, H], after dropout; nothing where there is none
  /// `[sequences, H]`: first what the head's activation is applied to; nothing for tanh, whose slopes are its output's.
  let headSlopes: UnsafeMutablePointer<Float>
  let pooled: UnsafeMutablePointer<Float>  // [sequences, H], after the head's activation
  let pooledDropped: UnsafeMutablePointer<Float>  // [sequences, H]
  let logits: UnsafeMutablePointer<Float>  // [sequences, labels]

  let logitsGradient: UnsafeMutablePointer<Float>  // [sequences, labels]
  let headGradient: UnsafeMutablePointer<Float>  // [sequences, H]
  let firstTokensGradient: UnsafeMutablePointer<Float>  // [sequences, H]
  let hiddenGradient: UnsafeMutablePointer<Float>  // [tokens, H]: of the current layer's output, then of its input
  let branchGradient: UnsafeMutablePointer<Float>  // [tokens, H]
  let intermediateGradient: UnsafeMutablePointer<Float>  // [tokens, I]
  let queryKeyValueGradient: UnsafeMutablePointer<Float>  // [tokens, 3H]
  let contextGradient: UnsafeMutablePointer<Float>  // [tokens, H]
  /// `[max(3H, I, 3E)]` for each block of rows and each sequence: their parts of sums over all rows.
  let blockSums: UnsafeMutablePointer<Float>
  let attention: [AttentionScratch]
  /// `[max(H, I, E)]` + room for dropout, one for each thread.
  let rowScratches: [UnsafeMutablePointer<Float>]
  var rowScratch: UnsafeMutablePointer<Float> { rowScratches[0] }

  private let arena: FloatArena
  /// Floats of all of them together.
  var floatCount: Int { arena.floatCount }

  /// - Parameter isMeasuring: counts only; nothing is allocated, and the memory must not be used.
  init(
    _ configuration: BertConfiguration, limits: BatchLimits, keepsForBackward: Bool, threads: Int,
    isMeasuring: Bool = false
  ) {
    self.limits = limits
    self.keepsForBackward = keepsForBackward
    let arena = FloatArena(isMeasuring: isMeasuring)
    self.arena = arena
    let hiddenSize = configuration.hiddenSize
    let (tokens, sequences) = (limits.tokens, limits.sequences)
    let perToken = tokens * hiddenSize
    let embeddingSize = configuration.embeddingSize
    let projected = configuration.projectsEmbeddings ? tokens * embeddingSize : 0
    let widest = max(3 * hiddenSize, configuration.intermediateSize, 3 * embeddingSize)
    func makeLayer() -> Layer { Layer(configuration, limits, in: arena) }

    positions = .allocate(capacity: isMeasuring ? 0 : tokens)
    positionIDs =
      configuration.paddingPosition == nil ? positions : .allocate(capacity: isMeasuring ? 0 : tokens)
    tokenRows = .allocate(capacity: isMeasuring ? 0 : tokens)
    squares = .allocate(capacity: isMeasuring ? 0 : sequences)
    embeddingNormalized = arena.allocate(tokens * embeddingSize)
    embeddingDeviation = arena.allocate(tokens)
    embedded = arena.allocate(projected)
    if keepsForBackward {
      hidden = (0...configuration.layers).map { _ in arena.allocate(perToken) }
      layers = (0..<configuration.layers).map { _ in makeLayer() }
    } else {
      // A layer may write its output over its input: the input is last read before that.
      hidden = Array(repeating: arena.allocate(perToken), count: configuration.layers + 1)
      layers = Array(repeating: makeLayer(), count: configuration.layers)
    }
    firstTokens = arena.allocate(sequences * hiddenSize)
    let head = configuration.family.head
    headInput = arena.allocate(head.dropsInput ? sequences * hiddenSize : 0)
    headSlopes = arena.allocate(head.activation == .tanh ? 0 : sequences * hiddenSize)
    pooled = arena.allocate(sequences * hiddenSize)
    pooledDropped = arena.allocate(sequences * hiddenSize)
    logits = arena.allocate(sequences * configuration.labels)

    let backward = keepsForBackward ? 1 : 0
    logitsGradient = arena.allocate(sequences * configuration.labels)
    headGradient = arena.allocate(sequences * hiddenSize * backward)
    firstTokensGradient = arena.allocate(sequences * hiddenSize * backward)
    hiddenGradient = arena.allocate(perToken * backward)
    embeddedGradient = arena.allocate(projected * backward)
    branchGradient = arena.allocate(perToken * backward)
    intermediateGradient = arena.allocate(tokens * configuration.intermediateSize * backward)
    queryKeyValueGradient = arena.allocate(3 * perToken * backward)
    contextGradient = arena.allocate(perToken * backward)
    let rowBlocks = (tokens + Self.rowBlock - 1) / Self.rowBlock
    // Blocks of groups of rows may each begin anew.
    blockSums = arena.allocate((rowBlocks + sequences) * widest * backward)
    attention = (0..<threads).map { _ in
      AttentionScratch(configuration, limits, keepsForBackward: keepsForBackward, in: arena)
    }
    rowScratches = (0..<threads).map { _ in
      arena.allocate(max(hiddenSize, configuration.intermediateSize, embeddingSize) + Dropout.padding)
    }
  }

  deinit {
    if positionIDs != positions { positionIDs.deallocate() }
    positions.deallocate()
    tokenRows.deallocate()
    squares.deallocate()
  }
}

extension Activations.Layer {
  fileprivate init(_ configuration: BertConfiguration, _ limits: BatchLimits, in arena: FloatArena) {
    let tokens = limits.tokens
    let perToken = tokens * configuration.hiddenSize
    queryKeyValue = arena.allocate(3 * perToken)
    probabilities = arena.allocate(configuration.heads * tokens * Activations.padded(limits.length))
    context = arena.allocate(perToken)
    attentionNormalized = arena.allocate(perToken)
    attentionDeviation = arena.allocate(tokens)
    attentionOutput = arena.allocate(perToken)
    slopes = arena.allocate(tokens * configuration.intermediateSize)
    activated = arena.allocate(tokens * configuration.intermediateSize)
    outputNormalized = arena.allocate(perToken)
    outputDeviation = arena.allocate(tokens)
  }
}

extension Activations.AttentionScratch {
  fileprivate init(
    _ configuration: BertConfiguration, _ limits: BatchLimits, keepsForBackward: Bool, in arena: FloatArena
  ) {
    let paddedLength = Activations.padded(limits.length)
    let square = limits.length * paddedLength
    transposed = arena.allocate(configuration.headSize * paddedLength)
    scales = arena.allocate(square + Dropout.padding)
    weights = arena.allocate(square)
    gradient = arena.allocate(keepsForBackward ? square : 0)
  }
}
