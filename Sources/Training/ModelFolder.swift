import BERT
import FileSystem
import FoundationEssentials
import Tokenization

/// A checkpoint folder in the Hugging Face layout: config.json, vocab.txt, tokenizer_config.json, and weights.
///
/// What describes the model is read at once; weights are read when asked for.
public struct ModelFolder: Sendable {
  public let path: String
  public let configuration: BertConfiguration
  public let tokenizer: BertTokenizer
  /// The text files as they were read, to be saved beside trained weights.
  private let configurationText: [UInt8]
  private let tokenizerFiles: TokenizerFiles

  /// Reads a folder.
  ///
  /// - Parameter labels: outputs of the classifier; nil takes what config.json says.
  public init(_ path: String, labels: Int? = nil) throws(Failure) {
    guard isDirectory(path) else {
      throw Failure(
        .missingInput, at: path, exists(path) ? "is not a folder" : "there is no such folder",
        hint: "expected a checkpoint in the Hugging Face layout: config.json, vocab.txt, model.safetensors")
    }
    self.path = path
    configurationText = try readBytes("\(path)/config.json", limitBytes: 1 << 24)
    configuration = try BertConfiguration(json: configurationText, path: "\(path)/config.json", labels: labels)
    tokenizerFiles = try TokenizerFiles(folder: path, modelConfiguration: configurationText)
    tokenizer = try BertTokenizer(files: tokenizerFiles, rows: configuration.vocabularySize)
  }

  /// A folder that exists in memory only, such as the embedded default: its files' texts under the name that errors and
  /// reports give it.
  public init(
    name: String, configuration: [UInt8], tokenizer tokenizerText: [UInt8], vocabulary: [UInt8], labels: Int? = nil
  ) throws(Failure) {
    path = name
    configurationText = configuration
    self.configuration = try BertConfiguration(json: configuration, path: "\(name)/config.json", labels: labels)
    tokenizerFiles = TokenizerFiles(
      folder: name, contents: [("tokenizer_config.json", tokenizerText), ("vocab.txt", vocabulary)],
      modelConfiguration: configuration)
    tokenizer = try BertTokenizer(files: tokenizerFiles, rows: self.configuration.vocabularySize)
  }

  /// A digest of config.json's text.
  public var configurationFingerprint: UInt64 {
    configurationText.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }

  /// Saves a model beside this folder's tokenizer, as transformers' `from_pretrained` reads it.
  ///
  /// Each file appears whole or not at all; config.json, without which a folder is no checkpoint, comes last.
  ///
  /// - Parameter labelNames: names of the classes, in order.
  public func save(_ model: Model, to folder: String, labelNames: [String]) throws(Failure) {
    try makeDirectory(folder)
    try model.saveWeights("\(folder)/model.safetensors")
    for file in tokenizerFiles.contents { try writeAtomically(file.bytes, to: "\(folder)/\(file.name)") }
    try writeAtomically(try savedConfiguration(model, labelNames), to: "\(folder)/config.json")
  }

  /// The folder's own config.json with what training settled: the architecture, the labels and the element type.
  private func savedConfiguration(_ model: Model, _ labelNames: [String]) throws(Failure) -> [UInt8] {
    let place = "\(path)/config.json"
    do {
      var object = try JSONDecoder().decode([String: JSONValue].self, from: Data(configurationText))
      let numbered = labelNames.enumerated()
      object["architectures"] = .array([.string("BertForSequenceClassification")])
      object["id2label"] = .object(Dictionary(uniqueKeysWithValues: numbered.map { ("\($0)", .string($1)) }))
      object["label2id"] = .object(Dictionary(uniqueKeysWithValues: numbered.map { ($1, .integer($0)) }))
      object["num_labels"] = nil
      object["problem_type"] = .string(
        model.configuration.labels == 1 ? "regression" : "single_label_classification")
      object["torch_dtype"] = nil
      object["dtype"] = .string("float32")
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      return [UInt8](try encoder.encode(object)) + [UInt8(ascii: "\n")]
    } catch {
      throw Failure(.configuration, at: place, "cannot be written again: \(error)")
    }
  }
}

/// Any JSON, kept as it was read.
enum JSONValue: Codable, Sendable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }
}
