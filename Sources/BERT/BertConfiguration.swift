import JSON
import Kernels
import System

/// The geometry and rates of a BERT, as a checkpoint's `config.json` states them.
///
/// A key that the file leaves out has the value that transformers' `BertConfig` gives it: older files rely on that.
public struct BertConfiguration: Sendable, Equatable {
  public var vocabularySize: Int
  public var hiddenSize: Int
  public var layers: Int
  public var heads: Int
  public var intermediateSize: Int
  public var maximumPositions: Int
  public var tokenTypes: Int
  public var labels: Int
  /// The function between the two products of a layer's feed-forward part.
  public var activation: Activation
  public var layerNormEpsilon: Double
  public var initializerRange: Double
  public var hiddenDropout: Double
  public var attentionDropout: Double
  /// Dropout before the classifier; `hidden_dropout_prob` where the file has none.
  public var classifierDropout: Double
  /// The token whose embedding gets no gradient; nil where the file says that there is none.
  public var padTokenID: Int32?
  /// Parameters of a head that stands in place of pooler and classifier; nil for those. Its outputs are `labels`.
  public var headParameters: [HeadParameter]?

  public var headSize: Int { hiddenSize / heads }

  /// Sets every dropout of the model.
  public mutating func setDropout(_ probability: Double) {
    hiddenDropout = probability
    attentionDropout = probability
    classifierDropout = probability
  }

  /// Reads the text of a `config.json`.
  ///
  /// - Parameters:
  ///   - path: named in errors.
  ///   - labels: outputs of the classifier; nil takes the file's `id2label` or `num_labels`, or 2 as transformers does.
  public init(json: [UInt8], path: String, labels: Int? = nil) throws(Failure) {
    let file = try JSONDocument(json, path: path).root
    try Self.refuseOtherModels(file)
    vocabularySize = try file.size("vocab_size", default: 30_522)
    hiddenSize = try file.size("hidden_size", default: 768, upTo: 1 << 16)
    layers = try file.size("num_hidden_layers", default: 12, upTo: 1 << 12)
    heads = try file.size("num_attention_heads", default: 12, upTo: 1 << 12)
    intermediateSize = try file.size("intermediate_size", default: 3072, upTo: 1 << 18)
    maximumPositions = try file.size("max_position_embeddings", default: 512, upTo: 1 << 16)
    tokenTypes = try file.size("type_vocab_size", default: 2, upTo: 1 << 16)
    activation = try Self.activation(file)
    layerNormEpsilon = try file.number("layer_norm_eps", default: 1e-12)
    initializerRange = try file.number("initializer_range", default: 0.02, below: 100)
    hiddenDropout = try file.number("hidden_dropout_prob", default: 0.1)
    attentionDropout = try file.number("attention_probs_dropout_prob", default: 0.1)
    classifierDropout = hiddenDropout
    if try file.member("classifier_dropout") != nil {
      classifierDropout = try file.number("classifier_dropout", default: hiddenDropout)
    }
    // Read in any case: what is wrong with the file does not depend on the task.
    let ownLabels = try Self.labels(file)
    self.labels = labels ?? ownLabels
    padTokenID = try Self.padTokenID(file, vocabularySize: vocabularySize)
    try refuseImpossibleSizes(file, path: path)
  }

  /// Refuses sizes that do not go together, and, before anything is allocated, those that no machine holds: a slip of the
  /// pen.
  private func refuseImpossibleSizes(_ file: JSONNode, path: String) throws(Failure) {
    guard hiddenSize % heads == 0 else {
      let node = try file.member("num_attention_heads") ?? file
      throw node.failure("\"num_attention_heads\" is \(heads), which does not divide \"hidden_size\" \(hiddenSize)")
    }
    let parameters =
      Double(vocabularySize + maximumPositions + tokenTypes) * Double(hiddenSize)
      + Double(layers) * Double(hiddenSize) * Double(4 * hiddenSize + 2 * intermediateSize)
    guard parameters <= 5e10 else {
      throw Failure(.configuration, at: path, "describes a model of \(parameters) parameters, expected at most 5e10")
    }
  }

  /// Refuses files of other models, and what BERT can be beyond an encoder.
  private static func refuseOtherModels(_ file: JSONNode) throws(Failure) {
    if let type = try file.member("model_type") {
      guard try type.string() == "bert" else { throw type.unexpected("\"bert\"") }
    } else if let architectures = try file.member("architectures") {
      // The first BERTs' files have no type.
      for node in try architectures.elements() {
        let name = try node.string()
        guard name.hasPrefix("Bert") else {
          throw node.failure("the file has no \"model_type\", and \"architectures\" names \(name), expected a BERT")
        }
      }
    }
    if let embedding = try file.member("position_embedding_type"), try embedding.string() != "absolute" {
      throw embedding.unexpected("\"absolute\"")
    }
    for key in ["is_decoder", "add_cross_attention"] {
      if let flag = try file.member(key), try flag.bool() {
        throw flag.failure("\"\(key)\" is true: the file describes a decoder, expected an encoder")
      }
    }
  }

  private static func activation(_ file: JSONNode) throws(Failure) -> Activation {
    guard let node = try file.rawMember("hidden_act") else { return .gelu }
    guard let activation = Activation(name: try node.string()) else {
      throw node.unexpected("one of \(Activation.names.joined(separator: ", "))")
    }
    return activation
  }

  /// The classes that the file speaks of: transformers takes `id2label` first, whatever the labels are called.
  private static func labels(_ file: JSONNode) throws(Failure) -> Int {
    guard let names = try file.member("id2label") else { return try file.size("num_labels", default: 2, upTo: 1 << 16) }
    var numbers: Set<Int> = []
    for (key, name) in try names.members() {
      guard let number = Int(String(decoding: key, as: UTF8.self)), number >= 0 else {
        throw name.failure("\"\(name.name)\" has a key that is no class number")
      }
      numbers.insert(number)
    }
    guard (1...1 << 16).contains(numbers.count) else {
      throw names.failure("\"id2label\" names \(numbers.count) classes, expected 1 to \(1 << 16)")
    }
    return numbers.count
  }

  /// As `torch.nn.Embedding` takes it: a negative one counts from the end of the vocabulary.
  private static func padTokenID(_ file: JSONNode, vocabularySize: Int) throws(Failure) -> Int32? {
    guard let node = try file.rawMember("pad_token_id") else { return 0 }
    if node.isNull { return nil }
    let id = try node.int(-vocabularySize...vocabularySize - 1)
    return Int32(id < 0 ? vocabularySize + id : id)
  }
}

extension JSONNode {
  /// The size under `key`, from 1 to `limit`.
  fileprivate func size(_ key: String, default standard: Int, upTo limit: Int = 1 << 24) throws(Failure) -> Int {
    try rawMember(key)?.int(1...limit) ?? standard
  }

  /// The number under `key`, from 0 to less than `limit`.
  fileprivate func number(_ key: String, default standard: Double, below limit: Double = 1) throws(Failure) -> Double {
    guard let node = try rawMember(key) else { return standard }
    let value = try node.double()
    guard (0..<limit).contains(value) else { throw node.unexpected("at least 0 and less than \(limit)") }
    return value
  }
}
