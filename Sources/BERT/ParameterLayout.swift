/// What a parameter is: how it starts and whether weight decay may spare it.
public enum ParameterKind: Sendable {
  case embedding, weight, bias, normGain, normShift

  /// Whether weight decay may leave it out.
  public var isBiasOrNorm: Bool {
    switch self {
    case .embedding, .weight: false
    case .bias, .normGain, .normShift: true
    }
  }
}

/// One parameter's place in the flat buffer, under its name in the checkpoint.
public struct ParameterSlot: Sendable, Equatable {
  public let name: String
  public let shape: [Int]
  public let kind: ParameterKind
  /// First element's index in the flat buffer.
  public let offset: Int
  public let count: Int
  /// Whether it is part of what a task puts on the encoder: checkpoints of other tasks lack it.
  public let belongsToHead: Bool

  public var range: Range<Int> { offset..<offset + count }
}

/// Where each parameter of a `BertForSequenceClassification` lies in one flat buffer, in forward order.
///
/// Forward order makes the set of finished gradients during backward one falling offset; query, key and value side by
/// side make the fused `[3H, H]` product need no packing. Every parameter is named here and nowhere else.
public struct ParameterLayout: Sendable {
  public private(set) var slots: [ParameterSlot] = []
  /// Elements of the whole buffer.
  public private(set) var count = 0

  struct Norm: Sendable {
    var gain: Int
    var shift: Int
  }
  struct Linear: Sendable {
    var weight: Int
    var bias: Int
  }
  struct Embeddings: Sendable {
    var word: Int
    var position: Int
    var type: Int
    var norm: Norm
  }
  struct Layer: Sendable {
    /// Query, key and value: weight `[3H, H]`, bias `[3H]`.
    var queryKeyValue: Linear
    var attentionOutput: Linear
    var attentionNorm: Norm
    var intermediate: Linear
    var output: Linear
    var outputNorm: Norm
  }

  /// Where the head begins, behind all of the encoder.
  public private(set) var headOffset = 0
  private var isInHead = false
  private(set) var embeddings = Embeddings(word: 0, position: 0, type: 0, norm: Norm(gain: 0, shift: 0))
  private(set) var layers: [Layer] = []
  private(set) var pooler = Linear(weight: 0, bias: 0)
  private(set) var classifier = Linear(weight: 0, bias: 0)

  public init(_ configuration: BertConfiguration) {
    let hidden = configuration.hiddenSize
    let prefix = "bert.embeddings"
    embeddings.word = add("\(prefix).word_embeddings.weight", [configuration.vocabularySize, hidden], .embedding)
    embeddings.position = add(
      "\(prefix).position_embeddings.weight", [configuration.maximumPositions, hidden], .embedding)
    embeddings.type = add("\(prefix).token_type_embeddings.weight", [configuration.tokenTypes, hidden], .embedding)
    embeddings.norm = addNorm("\(prefix).LayerNorm", hidden)
    for index in 0..<configuration.layers {
      layers.append(
        addLayer("bert.encoder.layer.\(index)", hidden: hidden, intermediate: configuration.intermediateSize))
    }
    headOffset = count
    isInHead = true
    if let parameters = configuration.headParameters {
      for parameter in parameters { _ = add(parameter.name, parameter.shape, parameter.kind) }
      return
    }
    pooler = addLinear("bert.pooler.dense", outputs: hidden, inputs: hidden)
    classifier = addLinear("classifier", outputs: configuration.labels, inputs: hidden)
  }

  /// The offsets that backward's `becameFinal` names, in its order.
  public var finalOffsets: [Int] { [headOffset] + layers.reversed().map(\.queryKeyValue.weight) + [0] }

  /// The head's parameters.
  public var headSlots: [ParameterSlot] { slots.filter(\.belongsToHead) }

  /// The word embeddings `[vocabulary, hidden]`, the first in the buffer: a step touches the rows of its tokens only.
  public var wordTable: ParameterSlot { slots[0] }

  private mutating func addLayer(_ name: String, hidden: Int, intermediate: Int) -> Layer {
    let parts = ["query", "key", "value"].map { "\(name).attention.self.\($0)" }
    let weights = parts.map { add("\($0).weight", [hidden, hidden], .weight) }
    let biases = parts.map { add("\($0).bias", [hidden], .bias) }
    return Layer(
      queryKeyValue: Linear(weight: weights[0], bias: biases[0]),
      attentionOutput: addLinear("\(name).attention.output.dense", outputs: hidden, inputs: hidden),
      attentionNorm: addNorm("\(name).attention.output.LayerNorm", hidden),
      intermediate: addLinear("\(name).intermediate.dense", outputs: intermediate, inputs: hidden),
      output: addLinear("\(name).output.dense", outputs: hidden, inputs: intermediate),
      outputNorm: addNorm("\(name).output.LayerNorm", hidden))
  }

  private mutating func addLinear(_ name: String, outputs: Int, inputs: Int) -> Linear {
    let weight = add("\(name).weight", [outputs, inputs], .weight)
    return Linear(weight: weight, bias: add("\(name).bias", [outputs], .bias))
  }

  private mutating func addNorm(_ name: String, _ size: Int) -> Norm {
    let gain = add("\(name).weight", [size], .normGain)
    return Norm(gain: gain, shift: add("\(name).bias", [size], .normShift))
  }

  private mutating func add(_ name: String, _ shape: [Int], _ kind: ParameterKind) -> Int {
    let slot = ParameterSlot(
      name: name, shape: shape, kind: kind, offset: count, count: shape.reduce(1, *), belongsToHead: isInHead)
    slots.append(slot)
    count += slot.count
    return slot.offset
  }
}
