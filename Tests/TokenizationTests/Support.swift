import Foundation
import System
import Tokenization

/// A Python with transformers, for comparisons on the spot: the last that `LOCKSTEP_PYTHON` lists.
let python = ProcessInfo.processInfo.environment["LOCKSTEP_PYTHON"]?.split(separator: ":").last.map(String.init)

/// This folder, with the scripts.
let testFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path

/// The checked-in values, made by make_goldens.py.
let goldens = "\(testFolder)/Goldens"

/// A line of a golden file.
struct Case: Decodable {
  var a: String
  var b: String?
  var maxLength: Int?
  var inputIds: [Int32]
  var tokenTypeIds: [Int32]
}

func cases(_ path: String) throws -> [Case] {
  let lines = try readBytes(path).split(separator: 0x0A)
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  return try lines.map { try decoder.decode(Case.self, from: Data($0)) }
}

/// The cases that `tokenizer` gets wrong, in words; `defaultLength` is for those without a length of their own.
func differences(_ cases: [Case], _ tokenizer: BertTokenizer, defaultLength: Int? = nil) throws -> [String] {
  try cases.compactMap { golden in
    let encoding = try tokenizer.encode(golden.a, golden.b, maxLength: golden.maxLength ?? defaultLength)
    if encoding.inputIDs == golden.inputIds && encoding.tokenTypeIDs == golden.tokenTypeIds { return nil }
    return "\(golden.a.debugDescription), \(golden.b.debugDescription), \(golden.maxLength ?? 0): "
      + "\(encoding.inputIDs) \(encoding.tokenTypeIDs), expected \(golden.inputIds) \(golden.tokenTypeIds)"
  }
}

/// A folder that is removed with its files when the test is over.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/lockstep-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes `bytes` to the file `name` and returns its path.
  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    return "\(path)/\(name)"
  }

  func write(_ text: String, _ name: String) throws -> String { try write(Array(text.utf8), name) }
}

/// The tokenizer of files that exist in memory only.
func tokenizer(_ files: [String: String], config: String? = nil, rows: Int? = nil) throws(Failure) -> BertTokenizer {
  try BertTokenizer(
    files: TokenizerFiles(
      folder: "folder", contents: files.map { ($0.key, Array($0.value.utf8)) },
      modelConfiguration: config.map { Array($0.utf8) }), rows: rows)
}

/// The tokenizer of a small vocabulary with a tokenizer_config.json.
func tokenizer(_ configuration: String, _ others: [String: String] = [:]) throws(Failure) -> BertTokenizer {
  try tokenizer(["vocab.txt": smallVocabulary, "tokenizer_config.json": configuration].merging(others) { $1 })
}

/// Ids 0 to 12: the special tokens, then these words.
let smallVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n##s\ndog\nCat\ncafe\ncafé\n中\n[\n"

/// What `body` throws, or nil.
func failure<Value>(_ body: () throws(Failure) -> Value) -> Failure? {
  do throws(Failure) {
    _ = try body()
    return nil
  } catch {
    return error
  }
}
