import FileSystem
import FoundationEssentials

/// The geometry and rates of a BERT, as a checkpoint's `config.json` states them.
///
/// Nothing that decides accuracy has a default here: a key that is missing is an error.
public struct BertConfiguration: Sendable, Equatable {
  public var vocabularySize: Int
  public var hiddenSize: Int
  public var layers: Int
  public var heads: Int
  public var intermediateSize: Int
  public var maximumPositions: Int
  public var tokenTypes: Int
  public var labels: Int
  public var layerNormEpsilon: Double
  public var initializerRange: Double
  public var hiddenDropout: Double
  public var attentionDropout: Double
  /// Dropout before the classifier; `hidden_dropout_prob` where the file has none.
  public var classifierDropout: Double
  /// The token whose embedding gets no gradient.
  public var padTokenID: Int32

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
    let file: File
    do {
      file = try JSONDecoder().decode(File.self, from: Data(json))
    } catch let error as DecodingError {
      throw Failure(.configuration, at: path, describe(error))
    } catch {
      throw Failure(.configuration, at: path, "is not JSON: \(error)")
    }
    try file.refuseOtherModels(path)

    func wholeNumber(_ value: Int?, _ key: String, upTo limit: Int = 1 << 24) throws(Failure) -> Int {
      guard let value else { throw Failure(.configuration, at: path, "has no key \"\(key)\"") }
      guard value >= 1 && value <= limit else {
        throw Failure(.configuration, at: path, "\"\(key)\" is \(value), expected 1 to \(limit)")
      }
      return value
    }
    func number(_ value: Double?, _ key: String, in range: Range<Double>) throws(Failure) -> Double {
      guard let value else { throw Failure(.configuration, at: path, "has no key \"\(key)\"") }
      guard range.contains(value) else {
        throw Failure(
          .configuration, at: path,
          "\"\(key)\" is \(value), expected at least \(range.lowerBound) and less than \(range.upperBound)")
      }
      return value
    }

    vocabularySize = try wholeNumber(file.vocab_size, "vocab_size")
    hiddenSize = try wholeNumber(file.hidden_size, "hidden_size", upTo: 1 << 16)
    layers = try wholeNumber(file.num_hidden_layers, "num_hidden_layers", upTo: 1 << 12)
    heads = try wholeNumber(file.num_attention_heads, "num_attention_heads", upTo: 1 << 12)
    intermediateSize = try wholeNumber(file.intermediate_size, "intermediate_size", upTo: 1 << 18)
    maximumPositions = try wholeNumber(file.max_position_embeddings, "max_position_embeddings", upTo: 1 << 16)
    tokenTypes = try wholeNumber(file.type_vocab_size, "type_vocab_size", upTo: 1 << 16)
    layerNormEpsilon = try number(file.layer_norm_eps, "layer_norm_eps", in: 0..<1)
    initializerRange = try number(file.initializer_range, "initializer_range", in: 0..<100)
    hiddenDropout = try number(file.hidden_dropout_prob, "hidden_dropout_prob", in: 0..<1)
    attentionDropout = try number(file.attention_probs_dropout_prob, "attention_probs_dropout_prob", in: 0..<1)
    classifierDropout = hiddenDropout
    if let own = file.classifier_dropout { classifierDropout = try number(own, "classifier_dropout", in: 0..<1) }
    self.labels = try wholeNumber(labels ?? file.id2label?.count ?? file.num_labels ?? 2, "num_labels", upTo: 1 << 16)

    let pad = file.pad_token_id ?? 0
    guard pad >= 0 && pad < vocabularySize else {
      throw Failure(
        .configuration, at: path, "\"pad_token_id\" is \(pad), expected 0 to \(vocabularySize - 1) (\"vocab_size\")")
    }
    padTokenID = Int32(pad)
    guard hiddenSize % heads == 0 else {
      throw Failure(
        .configuration, at: path,
        "\"num_attention_heads\" is \(heads), which does not divide \"hidden_size\" \(hiddenSize)")
    }
    // Refused before anything is allocated: no machine holds it, so it is a slip of the pen.
    let parameters =
      Double(vocabularySize + maximumPositions + tokenTypes) * Double(hiddenSize)
      + Double(layers) * Double(hiddenSize) * Double(4 * hiddenSize + 2 * intermediateSize)
    guard parameters <= 5e10 else {
      throw Failure(.configuration, at: path, "describes a model of \(parameters) parameters, expected at most 5e10")
    }
  }

  // swift-format-ignore: AlwaysUseLowerCamelCase
  /// The keys that matter, under the file's own names, which error messages quote.
  private struct File: Decodable {
    var model_type: String?
    var architectures: [String]?
    var hidden_act: String?
    var position_embedding_type: String?
    var is_decoder: Bool?
    var add_cross_attention: Bool?
    var vocab_size: Int?
    var hidden_size: Int?
    var num_hidden_layers: Int?
    var num_attention_heads: Int?
    var intermediate_size: Int?
    var max_position_embeddings: Int?
    var type_vocab_size: Int?
    var num_labels: Int?
    var id2label: [String: String]?
    var layer_norm_eps: Double?
    var initializer_range: Double?
    var hidden_dropout_prob: Double?
    var attention_probs_dropout_prob: Double?
    var classifier_dropout: Double?
    var pad_token_id: Int?

    func refuseOtherModels(_ path: String) throws(Failure) {
      guard let model_type else {
        throw Failure(.configuration, at: path, "has no key \"model_type\", expected \"bert\"")
      }
      guard model_type == "bert" else {
        throw Failure(.configuration, at: path, "\"model_type\" is \"\(model_type)\", expected \"bert\"")
      }
      guard let hidden_act else { throw Failure(.configuration, at: path, "has no key \"hidden_act\"") }
      guard hidden_act == "gelu" else {
        throw Failure(.configuration, at: path, "\"hidden_act\" is \"\(hidden_act)\", expected \"gelu\"")
      }
      if let position_embedding_type, position_embedding_type != "absolute" {
        throw Failure(
          .configuration, at: path,
          "\"position_embedding_type\" is \"\(position_embedding_type)\", expected \"absolute\"")
      }
      if is_decoder == true || add_cross_attention == true {
        throw Failure(
          .configuration, at: path,
          "describes a decoder (\"is_decoder\" or \"add_cross_attention\" is true), expected an encoder")
      }
    }
  }
}

private func describe(_ error: DecodingError) -> String {
  func key(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
  switch error {
  case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
    return "\"\(key(context.codingPath))\" is not a \(type)"
  case .keyNotFound(let missing, let context):
    return "has no key \"\(key(context.codingPath + [missing]))\""
  case .dataCorrupted(let context):
    let place = context.codingPath.isEmpty ? "" : "\"\(key(context.codingPath))\": "
    return "\(place)is not valid JSON: \(context.debugDescription)"
  @unknown default:
    return "cannot be read: \(error)"
  }
}
