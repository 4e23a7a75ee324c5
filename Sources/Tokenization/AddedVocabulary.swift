import System

/// The tokens that are found in a text as a whole, numbered as the `tokenizers` crate numbers them: a token of the
/// vocabulary keeps its id, others follow behind the vocabulary. Ids that files give them do not count.
struct AddedVocabulary: Sendable {
  /// By id. Of two tokens that come to have one id the later one counts.
  private(set) var tokens: [Int32: AddedToken] = [:]
  private(set) var ids: [[UInt8]: Int32] = [:]
  private(set) var specials: Set<[UInt8]> = []

  /// Adds `tokens` in order; one that is there already takes the new flags.
  mutating func add(_ added: [AddedToken], to vocabulary: Vocabulary) {
    let size = Int32(vocabulary.count)
    var next = size
    if let largest = tokens.keys.max(), largest >= size { next = largest + 1 }
    for token in added where !token.content.isEmpty {
      let id: Int32
      if let known = self.id(of: token.content, vocabulary) {
        id = known
      } else {
        id = next
        next += 1
      }
      ids[token.content] = id
      tokens[id] = token
      if token.isSpecial { specials.insert(token.content) }
    }
  }

  func id(of content: [UInt8], _ vocabulary: Vocabulary) -> Int32? { ids[content] ?? vocabulary.id(of: content) }

  /// The finder of the tokens that are looked for in text as it is, or in normalized text; nil where there are none.
  ///
  /// Throws where two tokens read the same once normalized, or nothing is left of one: the crate refuses both.
  func finder(
    normalized: Bool, splitsSpecials: Bool, path: String, _ normalize: ([UInt8]) -> [UInt8]
  ) throws(Failure) -> AddedTokenFinder? {
    var patterns: [[UInt8]: AddedTokenFinder.Match] = [:]
    for (id, token) in tokens.sorted(by: { $0.key < $1.key }) where token.isNormalized == normalized {
      let pattern = normalized ? normalize(token.content) : token.content
      let isIgnored = splitsSpecials && specials.contains(token.content)
      guard !pattern.isEmpty else {
        throw Failure(
          .configuration, at: path, "nothing is left of the added token \(quoted(token.content)) once normalized")
      }
      if let other = patterns.updateValue(.init(id: id, token: token, isIgnored: isIgnored), forKey: pattern) {
        throw Failure(
          .configuration, at: path,
          "added tokens \(quoted(other.token.content)) and \(quoted(token.content)) are the same once normalized")
      }
    }
    return patterns.isEmpty ? nil : AddedTokenFinder(patterns)
  }
}
