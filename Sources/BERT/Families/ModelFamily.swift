import JSON
import Kernels
import System

/// A kind of model around BERT's encoder: how its config.json maps onto the encoder's configuration, the names of its
/// tensors, and its head for classification. The encoder is the same for all.
///
/// A new one is a file beside this one, and its line in ``all``.
public struct ModelFamily: Sendable, Equatable {
  /// `model_type` of config.json.
  public let modelType: String
  /// How the names of its classes in transformers begin.
  let classPrefix: String
  /// The keys of config.json that say how many heads there are and how wide they are together, for messages.
  let sizeKeys: (heads: String, hidden: String)
  let names: ParameterNames
  let head: HeadRecipe
  /// Reads the keys of config.json that are its own; what the file leaves out is as in its class in transformers.
  let read: @Sendable (JSONNode, inout BertConfiguration) throws(Failure) -> Void

  /// All families. What is named first is taken where a file names none.
  public static let all: [ModelFamily] = [.bert, .distilBERT, .electra, .roberta]

  /// The class of transformers that has a classifier on the encoder, as `architectures` of a saved model names it.
  public var classifierClass: String { "\(classPrefix)ForSequenceClassification" }

  public static func == (a: ModelFamily, b: ModelFamily) -> Bool { a.modelType == b.modelType }
}

extension ModelFamily {
  /// The family that a config.json names. Throws where it describes another model.
  init(of file: JSONNode) throws(Failure) {
    if let type = try file.member("model_type") {
      let name = try type.string()
      guard let family = Self.all.first(where: { $0.modelType == name }) else {
        throw type.unexpected("one of \(Self.all.map(\.modelType).joined(separator: ", "))")
      }
      self = family
      return
    }
    // The first BERTs' files have no type.
    var family = Self.bert
    for node in try file.member("architectures")?.elements() ?? [] {
      let name = try node.string()
      guard let named = Self.all.first(where: { name.hasPrefix($0.classPrefix) }) else {
        let known = Self.all.map { "\($0.classPrefix)…" }.joined(separator: ", ")
        throw node.failure(
          "the file has no \"model_type\", and \"architectures\" names \(name), expected one of \(known)")
      }
      family = named
    }
    self = family
  }
}

/// The names of a model's tensors, without `.weight` and `.bias`.
struct ParameterNames: Sendable {
  /// In front of all names of the encoder; checkpoints of the encoder alone lack it.
  var encoder: String
  var layers = "encoder.layer"
  // Within a layer.
  var query = "attention.self.query"
  var key = "attention.self.key"
  var value = "attention.self.value"
  var attentionOutput = "attention.output.dense"
  var attentionNorm = "attention.output.LayerNorm"
  var intermediate = "intermediate.dense"
  var output = "output.dense"
  var outputNorm = "output.LayerNorm"
}

/// A head for classification: [dropout] → dense → activation → dropout → classifier, on the first token's state.
struct HeadRecipe: Sendable {
  /// The names of the two linear layers, whole.
  var dense: String
  var classifier: String
  var activation: Activation
  /// Whether dropout comes before the dense layer, too.
  var dropsInput = false
}

extension JSONNode {
  /// The size under `key`, from 1 to `limit`.
  func size(_ key: String, default standard: Int, upTo limit: Int = 1 << 24) throws(Failure) -> Int {
    try rawMember(key)?.int(1...limit) ?? standard
  }

  /// The number under `key`, from 0 to less than `limit`.
  func number(_ key: String, default standard: Double, below limit: Double = 1) throws(Failure) -> Double {
    guard let node = try rawMember(key) else { return standard }
    let value = try node.double()
    guard (0..<limit).contains(value) else { throw node.unexpected("at least 0 and less than \(limit)") }
    return value
  }

  /// The function that `key` names.
  func activation(_ key: String, default standard: Activation) throws(Failure) -> Activation {
    guard let node = try rawMember(key) else { return standard }
    guard let activation = Activation(name: try node.string()) else {
      throw node.unexpected("one of \(Activation.names.joined(separator: ", "))")
    }
    return activation
  }
}
