import JSON
import System

/// The tokens that a WordPiece model knows, and their ids.
///
/// Tokens are bytes: two spellings that Unicode calls equivalent are two tokens.
public struct Vocabulary: Sendable {
  private(set) var index = VocabularyIndex()

  /// The longest token that is accepted; no word that the tokenizer looks up is longer.
  static let longestTokenBytes = 1024
  /// The most tokens that are accepted: eight times as many as the largest vocabulary of a published BERT has.
  static let mostTokens = 1 << 22

  /// Reads the text of a `vocab.txt` as transformers 5 does: the number of a line is the id of its token, white space at
  /// the end of a line is no part of it, and of equal tokens the last one counts. `path` names it in messages.
  ///
  /// A file that transformers 4 and 5 number differently, because it holds carriage returns inside lines, is refused.
  init(text: [UInt8], path: String) throws(Failure) {
    guard !text.isEmpty else { throw Failure(.badData, at: path, "is empty, expected one token a line") }
    guard !text.starts(with: [0xEF, 0xBB, 0xBF]) else {
      throw Failure(
        .badData, at: "\(path):1:1", "starts with a byte order mark, which would be part of the first token",
        hint: "save it as UTF-8 without one")
    }
    var line = 0
    var start = 0
    while start < text.count {
      let end = text[start...].firstIndex(of: 0x0A) ?? text.count
      let token = trimmingEnd(text[start..<end])
      try insert(token, id: line, place: "\(path):\(line + 1)")
      line += 1
      start = end + 1
    }
  }

  /// Reads the object `model.vocab` of a tokenizer.json.
  init(json: JSONNode) throws(Failure) {
    try json.forEachMember { key, value throws(Failure) in
      try insert(key[...], id: value.int(0...Int(Int32.max) - 1), place: value.place)
    }
    guard count > 0 else { throw json.unexpected("an object with tokens") }
  }

  private mutating func insert(_ token: ArraySlice<UInt8>, id: Int, place: @autoclosure () -> String) throws(Failure) {
    guard id < Self.mostTokens && count < Self.mostTokens else {
      throw Failure(.badData, at: place(), "is token \(id), expected at most \(Self.mostTokens) tokens")
    }
    guard token.count <= Self.longestTokenBytes else {
      throw Failure(
        .badData, at: place(), "token has \(token.count) bytes, expected at most \(Self.longestTokenBytes)")
    }
    if let bad = token.withUnsafeBufferPointer(firstInvalidUTF8) {
      let byte = token[token.startIndex + bad]
      throw Failure(
        .badData, at: "\(place()):\(bad + 1)", "byte 0x\(String(byte, radix: 16, uppercase: true)) is not UTF-8")
    }
    if let bad = token.firstIndex(where: { $0 == 0x0D || $0 == 0 }) {
      let name = token[bad] == 0 ? "NUL byte" : "carriage return"
      throw Failure(.badData, at: "\(place()):\(bad - token.startIndex + 1)", "token holds a \(name), expected text")
    }
    index.insert(token, id: Int32(id))
  }

  /// The number of different tokens.
  public var count: Int { index.count }

  /// The largest id.
  public var largestID: Int32 { index.ids.max() ?? -1 }

  /// The id of `token`, or nil.
  public func id(of token: [UInt8]) -> Int32? {
    let tokenHash = FNV1a.hash(token)
    return token.withUnsafeBufferPointer { index.find($0, after: .init(start: nil, count: 0), hash: tokenHash) }
  }

  /// The id of `token`, or nil.
  public func id(of token: String) -> Int32? { id(of: Array(token.utf8)) }

  /// All tokens with their ids, in the order of the file, but equal ones where the first of them stands.
  var entries: some Sequence<(token: ArraySlice<UInt8>, id: Int32)> {
    (0..<count).lazy.map { (index.token($0), index.ids[$0]) }
  }

  /// A hash of all tokens and ids; no defence against forgery.
  var fingerprint: UInt64 {
    var hash = FNV1a()
    for (token, id) in entries {
      hash.add(token)
      for shift in stride(from: 0, to: 32, by: 8) {
        hash.add(UInt8(truncatingIfNeeded: UInt32(bitPattern: id) >> UInt32(shift)))
      }
      hash.add(UInt8(ascii: "\n"))
    }
    return hash.value
  }
}

/// `line` without white space at its end, Unicode's included.
private func trimmingEnd(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
  var line = line
  while let last = line.last {
    if last < 0x80 {
      guard last == 0x20 || (0x09...0x0D).contains(last) else { return line }
      line.removeLast()
    } else {
      guard let scalar = line.withUnsafeBufferPointer(lastScalar), isWhiteSpace(scalar.value) else { return line }
      line.removeLast(scalar.length)
    }
  }
  return line
}
