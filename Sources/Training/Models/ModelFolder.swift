import BERT
import JSON
import System
import Tokenization

/// A checkpoint folder in the Hugging Face layout: config.json, vocab.txt, tokenizer_config.json, and weights.
///
/// What describes the model is read at once; weights are read when asked for.
public struct ModelFolder: Sendable {
  public let path: String
  public let configuration: BertConfiguration
  public let tokenizer: BertTokenizer
  /// The text files as they were read, to be saved beside trained weights.
  let configurationText: [UInt8]
  let tokenizerFiles: TokenizerFiles

  /// Reads a folder.
  ///
  /// - Parameters:
  ///   - labels: outputs of the classifier; nil takes what config.json says.
  ///   - files: where it is read from; ``inputPaths(_:)`` of them are.
  public init(_ path: String, labels: Int? = nil, files: InputFiles = .disk) throws(Failure) {
    guard files.isFolder(path) else {
      throw Failure(
        .missingInput, at: path, files.exists(path) ? "is not a folder" : "there is no such folder",
        hint: "expected a checkpoint in the Hugging Face layout: config.json, vocab.txt, model.safetensors")
    }
    self.path = path
    configurationText = try files.bytes("\(path)/config.json", limitBytes: 1 << 24)
    configuration = try BertConfiguration(json: configurationText, path: "\(path)/config.json", labels: labels)
    tokenizerFiles = try TokenizerFiles(folder: path, modelConfiguration: configurationText, files: files)
    tokenizer = try BertTokenizer(files: tokenizerFiles, rows: configuration.vocabularySize)
  }

  /// The paths that are looked at in the folder `path`, apart from weights.
  public static func inputPaths(_ path: String) -> [String] {
    [path] + (["config.json"] + TokenizerFiles.names).map { "\(path)/\($0)" }
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

  /// The classes that config.json names, in order; empty where it names none, or not each by its number.
  public func labelNames() throws(Failure) -> [String] {
    let file = try JSONDocument(configurationText, path: "\(path)/config.json").root
    let members = try file.member("id2label")?.members() ?? []
    var names = [String?](repeating: nil, count: members.count)
    for (key, value) in members {
      guard let number = Int(String(decoding: key, as: UTF8.self)), names.indices.contains(number),
        value.kind == .string
      else { return [] }
      names[number] = try value.string()
    }
    return names.compactMap(\.self).count == names.count ? names.compactMap(\.self) : []
  }

  /// A digest of config.json's text.
  public var configurationFingerprint: UInt64 { FNV1a.hash(configurationText) }
}
