import Foundation
import System
import TestSupport
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
