import System

/// The files of a model's folder that decide its tokenizer, read once and kept byte for byte.
///
/// A tokenizer is made from them, and they are saved beside trained weights as they are.
public struct TokenizerFiles: Sendable {
  /// The folder, or the name of a model that exists in memory only, for messages.
  public let folder: String
  /// Those of ``names`` that are there, in that order.
  public let contents: [(name: String, bytes: [UInt8])]
  /// The text of config.json, which may name the tokenizer's class; nil where there is none.
  let modelConfiguration: [UInt8]?

  /// The names of all files that belong to a tokenizer.
  public static let names = [
    "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt",
    "special_tokens_map.json", "added_tokens.json",
  ]

  /// The most bytes of a file that are read. The largest vocabularies of WordPiece models have half a million tokens
  /// and fill 10 MB.
  private static func limitBytes(_ name: String) -> Int {
    switch name {
    case "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt": 1 << 26
    default: 1 << 24
    }
  }

  /// Reads the files of `folder`.
  ///
  /// - Parameters:
  ///   - modelConfiguration: config.json where it was read already.
  ///   - files: where they are read from.
  public init(
    folder: String, modelConfiguration: [UInt8]? = nil, files: InputFiles = .disk
  ) throws(Failure) {
    guard files.isFolder(folder) else { throw Failure(.missingInput, at: folder, "is not a folder that can be read") }
    func read(_ name: String) throws(Failure) -> [UInt8]? {
      let path = "\(folder)/\(name)"
      return files.exists(path) ? try files.bytes(path, limitBytes: Self.limitBytes(name)) : nil
    }
    var contents: [(name: String, bytes: [UInt8])] = []
    for name in Self.names {
      if let bytes = try read(name) { contents.append((name, bytes)) }
    }
    self.folder = folder
    self.contents = contents
    self.modelConfiguration = if let modelConfiguration { modelConfiguration } else { try read("config.json") }
  }

  /// Files that exist in memory only, under the name that messages give their folder. Names are those of ``names``.
  public init(
    folder: String, contents: [(name: String, bytes: [UInt8])], modelConfiguration: [UInt8]? = nil
  ) {
    self.folder = folder
    self.contents = Self.names.compactMap { name in contents.first { $0.name == name } }
    precondition(self.contents.count == contents.count, "not names of tokenizer files: \(contents.map(\.name))")
    self.modelConfiguration = modelConfiguration
  }

  /// The bytes of the file `name`; nil where it is not there.
  public func bytes(_ name: String) -> [UInt8]? { contents.first { $0.name == name }?.bytes }

  /// The path of the file `name`, for messages.
  func path(_ name: String) -> String { "\(folder)/\(name)" }
}
