import JSON
import Kernels
import System

/// The geometry and rates of a BERT, or of a model of its family, as a checkpoint's `config.json` states them.
///
/// A key that the file leaves out has the value that the model's class in transformers gives it: older files rely on that.
public struct BertConfiguration: Sendable, Equatable {
  public let family: ModelFamily
  public var vocabularySize = 30_522
  public var hiddenSize = 768
  /// Numbers of an embedding; where they are not `hiddenSize` a linear layer makes them so.
  public var embeddingSize = 768
  public var layers = 12
  public var heads = 12
  public var intermediateSize = 3072
  /// Rows of the table of positions.
  public var positionRows = 512
  /// The position of padding, where positions are counted from the next one on; nil where they begin with 0.
  public var paddingPosition: Int?
  /// Whether fresh positions are sines and cosines.
  public var hasSinusoidalPositions = false
  /// Rows of the table of token types; 0 where there is none, and rows may have any types.
  public var tokenTypes = 2
  public var labels = 2
  /// The function between the two products of a layer's feed-forward part.
  public var activation = Activation.gelu
  public var layerNormEpsilon = 1e-12
  public var initializerRange = 0.02
  public var hiddenDropout = 0.1
  public var attentionDropout = 0.1
  /// Dropout before the classifier; `hidden_dropout_prob` where the file has none.
  public var classifierDropout = 0.1
  /// Whether the attention's output has dropout.
  public var dropsAttentionOutput = true
  /// The token whose embedding gets no gradient; nil where the file says that there is none.
  public var padTokenID: Int32? = 0
  /// Parameters of a head that stands in place of pooler and classifier; nil for those. Its outputs are `labels`.
  public var headParameters: [HeadParameter]?

  public var headSize: Int { hiddenSize / heads }

  /// The most tokens of a row.
  public var maximumPositions: Int { positionRows - (paddingPosition.map { $0 + 1 } ?? 0) }

  /// Whether embeddings have another size than the encoder's states.
  var projectsEmbeddings: Bool { embeddingSize != hiddenSize }

  /// Whether a token may have the type.
  public func takes(tokenType type: Int) -> Bool { tokenTypes == 0 || (0..<tokenTypes).contains(type) }

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
    let family = try ModelFamily(of: file)
    self.family = family
    try Self.refuseOtherModels(file)
    try family.read(file, &self)
    // Read in any case: what is wrong with the file does not depend on the task.
    let ownLabels = try Self.labels(file)
    self.labels = labels ?? ownLabels
    if paddingPosition == nil { padTokenID = try Self.padTokenID(file, vocabularySize: vocabularySize) }
    try refuseImpossibleSizes(file, path: path)
  }

  /// Refuses sizes that do not go together, and, before anything is allocated, those that no machine holds: a slip of the
  /// pen.
  private func refuseImpossibleSizes(_ file: JSONNode, path: String) throws(Failure) {
    guard hiddenSize % heads == 0 else {
      let keys = family.sizeKeys
      let node = try file.member(keys.heads) ?? file
      throw node.failure("\"\(keys.heads)\" is \(heads), which does not divide \"\(keys.hidden)\" \(hiddenSize)")
    }
    let parameters =
      Double(vocabularySize + positionRows + tokenTypes + hiddenSize) * Double(embeddingSize)
      + Double(layers) * Double(hiddenSize) * Double(4 * hiddenSize + 2 * intermediateSize)
    guard parameters <= 5e10 else {
      throw Failure(.configuration, at: path, "describes a model of \(parameters) parameters, expected at most 5e10")
    }
  }

  /// Refuses what a BERT can be beyond an encoder.
  private static func refuseOtherModels(_ file: JSONNode) throws(Failure) {
    if let embedding = try file.member("position_embedding_type"), try embedding.string() != "absolute" {
      throw embedding.unexpected("\"absolute\"")
    }
    for key in ["is_decoder", "add_cross_attention"] {
      if let flag = try file.member(key), try flag.bool() {
        throw flag.failure("\"\(key)\" is true: the file describes a decoder, expected an encoder")
      }
    }
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
