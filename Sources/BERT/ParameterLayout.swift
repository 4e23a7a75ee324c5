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
  /// The part of the name that checkpoints of the encoder alone lack, with its dot; empty where there is none.
  public let encoderPrefix: String

  public var range: Range<Int> { offset..<offset + count }
}

/// Where each parameter of a `BertForSequenceClassification`, or of its like in another family, lies in one flat buffer,
/// in forward order.
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
    /// Nil where the model has no token types.
    var type: Int?
    var norm: Norm
    /// To the encoder's size; nil where embeddings have it.
    var projection: Linear?
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
  private let encoderPrefix: String
  private(set) var embeddings = Embeddings(word: 0, position: 0, norm: Norm(gain: 0, shift: 0))
  private(set) var layers: [Layer] = []
  /// The head's dense layer: BERT's pooler.
  private(set) var pooler = Linear(weight: 0, bias: 0)
  private(set) var classifier = Linear(weight: 0, bias: 0)

  public init(_ configuration: BertConfiguration) {
    let hidden = configuration.hiddenSize
    let embedding = configuration.embeddingSize
    let (names, head) = (configuration.family.names, configuration.family.head)
    encoderPrefix = "\(names.encoder)."
    let prefix = "\(names.encoder).embeddings"
    embeddings.word = add("\(prefix).word_embeddings.weight", [configuration.vocabularySize, embedding], .embedding)
    embeddings.position = add(
      "\(prefix).position_embeddings.weight", [configuration.positionRows, embedding], .embedding)
    if configuration.tokenTypes > 0 {
      embeddings.type = add(
        "\(prefix).token_type_embeddings.weight", [configuration.tokenTypes, embedding], .embedding)
    }
    embeddings.norm = addNorm("\(prefix).LayerNorm", embedding)
    if configuration.projectsEmbeddings {
      embeddings.projection = addLinear("\(prefix)_project", outputs: hidden, inputs: embedding)
    }
    for index in 0..<configuration.layers {
      layers.append(
        addLayer(
          "\(names.encoder).\(names.layers).\(index)", names, hidden: hidden,
          intermediate: configuration.intermediateSize))
    }
    headOffset = count
    isInHead = true
    if let parameters = configuration.headParameters {
      for parameter in parameters { _ = add(parameter.name, parameter.shape, parameter.kind) }
      return
    }
    pooler = addLinear(head.dense, outputs: hidden, inputs: hidden)
    classifier = addLinear(head.classifier, outputs: configuration.labels, inputs: hidden)
  }

  /// The offsets that backward's `becameFinal` names, in its order.
  public var finalOffsets: [Int] { [headOffset] + layers.reversed().map(\.queryKeyValue.weight) + [0] }

  /// The head's parameters.
  public var headSlots: [ParameterSlot] { slots.filter(\.belongsToHead) }

  /// The word embeddings `[vocabulary, hidden]`, the first in the buffer: a step touches the rows of its tokens only.
  public var wordTable: ParameterSlot { slots[0] }

  private mutating func addLayer(
    _ name: String, _ names: ParameterNames, hidden: Int, intermediate: Int
  ) -> Layer {
    let parts = [names.query, names.key, names.value].map { "\(name).\($0)" }
    let weights = parts.map { add("\($0).weight", [hidden, hidden], .weight) }
    let biases = parts.map { add("\($0).bias", [hidden], .bias) }
    return Layer(
      queryKeyValue: Linear(weight: weights[0], bias: biases[0]),
      attentionOutput: addLinear("\(name).\(names.attentionOutput)", outputs: hidden, inputs: hidden),
      attentionNorm: addNorm("\(name).\(names.attentionNorm)", hidden),
      intermediate: addLinear("\(name).\(names.intermediate)", outputs: intermediate, inputs: hidden),
      output: addLinear("\(name).\(names.output)", outputs: hidden, inputs: intermediate),
      outputNorm: addNorm("\(name).\(names.outputNorm)", hidden))
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
      name: name, shape: shape, kind: kind, offset: count, count: shape.reduce(1, *), belongsToHead: isInHead,
      encoderPrefix: name.hasPrefix(encoderPrefix) ? encoderPrefix : "")
    slots.append(slot)
    count += slot.count
    return slot.offset
  }
}
