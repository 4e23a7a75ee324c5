import FileSystem

/// The tokens that a model knows, numbered from 0 in the order of `vocab.txt`.
///
/// Tokens are bytes: two spellings that Unicode calls equivalent are two tokens.
public struct Vocabulary: Sendable {
  let index: VocabularyIndex
  public let specialTokens: SpecialTokens
  public let padID: Int32
  public let unknownID: Int32
  public let classificationID: Int32
  public let separatorID: Int32
  /// Nil where the vocabulary has no mask token.
  public let maskID: Int32?

  /// The longest token that is accepted; no word that the tokenizer looks up is longer.
  static let longestTokenBytes = 1024

  /// Reads a `vocab.txt`: a token a line, lines ended by LF or CRLF, a byte order mark allowed.
  ///
  /// Throws `.missingInput` where the file cannot be opened, and `.badData` with the line where it is empty, is not
  /// UTF-8, holds a blank line or a token twice, or lacks a special token.
  public init(contentsOf path: String, specialTokens: SpecialTokens = SpecialTokens()) throws(Failure) {
    try self.init(text: readBytes(path), path: path, specialTokens: specialTokens)
  }

  /// Reads the text of a `vocab.txt`; `path` names it in messages.
  init(text: [UInt8], path: String, specialTokens: SpecialTokens = SpecialTokens()) throws(Failure) {
    try self.init(tokens: Self.lines(of: text, path: path), path: path, specialTokens: specialTokens)
  }

  /// A vocabulary of `tokens`; `path` names it in messages, where token `n` is on line `n + 1`.
  public init(
    tokens: [[UInt8]], path: String, specialTokens: SpecialTokens = SpecialTokens()
  ) throws(Failure) {
    guard !tokens.isEmpty else { throw Failure(.badData, at: path, "is empty, expected one token a line") }
    guard tokens.count < Int32.max else {
      throw Failure(.badData, at: path, "has \(tokens.count) tokens, expected fewer than \(Int32.max)")
    }
    var index = VocabularyIndex(capacity: tokens.count)
    for (id, token) in tokens.enumerated() {
      let place = "\(path):\(id + 1)"
      guard !token.isEmpty else { throw Failure(.badData, at: place, "is a blank line, expected a token") }
      guard token.count <= Self.longestTokenBytes else {
        throw Failure(
          .badData, at: place, "token has \(token.count) bytes, expected at most \(Self.longestTokenBytes)")
      }
      if let bad = token.withUnsafeBufferPointer(firstInvalidUTF8) {
        throw Failure(
          .badData, at: "\(place):\(bad + 1)", "byte 0x\(String(token[bad], radix: 16, uppercase: true)) is not UTF-8")
      }
      if let bad = token.firstIndex(where: { $0 == 0x0D || $0 == 0 }) {
        let name = token[bad] == 0 ? "NUL byte" : "carriage return"
        throw Failure(.badData, at: "\(place):\(bad + 1)", "token holds a \(name), expected text")
      }
      if let first = index.insert(token) {
        throw Failure(.badData, at: place, "token \(quoted(token)) is on line \(first + 1) already, expected each once")
      }
    }
    self.index = index
    self.specialTokens = specialTokens
    func find(_ token: String) throws(Failure) -> Int32 {
      if let id = Self.find(Array(token.utf8), in: index) { return id }
      throw Failure(
        .badData, at: path, "has no token \(quoted(token.utf8)) in \(index.count) lines",
        hint: "BERT needs \(specialTokens.required.joined(separator: ", "))")
    }
    padID = try find(specialTokens.pad)
    unknownID = try find(specialTokens.unknown)
    classificationID = try find(specialTokens.classification)
    separatorID = try find(specialTokens.separator)
    maskID = Self.find(Array(specialTokens.mask.utf8), in: index)
  }

  /// The number of tokens; the model's `vocab_size` must be no less.
  public var count: Int { index.count }

  /// The id of `token`, or nil.
  public func id(of token: [UInt8]) -> Int32? { Self.find(token, in: index) }

  /// The id of `token`, or nil.
  public func id(of token: String) -> Int32? { id(of: Array(token.utf8)) }

  /// The bytes of the token `id`, which must be in `0..<count`.
  public func token(_ id: Int32) -> [UInt8] { Array(index.token(Int(id))) }

  /// A hash of all tokens in order, for telling vocabularies apart (FNV-1a; no defence against forgery).
  public var fingerprint: UInt64 {
    var state = emptyHash
    for id in 0..<count {
      for byte in index.token(id) { state = hash(state, adding: byte) }
      state = hash(state, adding: 0x0A)
    }
    return state
  }

  private static func find(_ token: [UInt8], in index: VocabularyIndex) -> Int32? {
    let tokenHash = token.reduce(emptyHash) { hash($0, adding: $1) }
    return token.withUnsafeBufferPointer { index.find($0, after: "", hash: tokenHash) }
  }

  private static func lines(of bytes: [UInt8], path: String) throws(Failure) -> [[UInt8]] {
    let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    var lines = bytes[start...].split(separator: 0x0A, omittingEmptySubsequences: false).map { line in
      Array(line.last == 0x0D ? line.dropLast() : line)
    }
    if lines.last?.isEmpty == true && (bytes.last == 0x0A || bytes.count == start) { lines.removeLast() }
    return lines
  }
}
