import System

/// The WordPiece model: spells a word with the vocabulary's pieces, the longest first; pieces inside a word begin with
/// a prefix. (Devlin et al. 2018; the greedy search of Schuster and Nakajima 2012.)
struct WordPiece: Sendable {
  enum Spelling: Sendable {
    case pieces
    /// Each character of a word is a piece, and has no prefix, in compatibility form NFKC.
    case characters
    /// By byte-pair encoding, over bytes.
    case bytePairs(BytePairs)
  }

  let vocabulary: Vocabulary
  /// Stands for a word that the vocabulary cannot spell.
  let unknownID: Int32
  /// `##` in BERT's vocabularies.
  let continuationPrefix: [UInt8]
  /// A longer word is unknown as a whole.
  let longestWordCharacters: Int
  /// How else words that were cut elsewhere are spelled.
  let spelling: Spelling
  private let continuationHash: UInt64

  init(
    _ vocabulary: Vocabulary, unknownID: Int32, continuationPrefix: [UInt8], longestWordCharacters: Int,
    spelling: Spelling = .pieces
  ) {
    self.spelling = spelling
    self.vocabulary = vocabulary
    self.unknownID = unknownID
    self.continuationPrefix = continuationPrefix
    self.longestWordCharacters = longestWordCharacters
    continuationHash = FNV1a.hash(continuationPrefix)
  }

  /// Appends the pieces of `word`, which is UTF-8, to `ids`. `hashes` is memory.
  func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32], hashes: inout [UInt64]) {
    let firstPiece = ids.count
    let spelled = continuationPrefix.withUnsafeBufferPointer { prefix in
      var start = 0
      while start < word.count {
        let length = longestPiece(word, from: start, start == 0 ? .init(start: nil, count: 0) : prefix, &ids, &hashes)
        guard length > 0 else { return false }
        start += length
      }
      return true
    }
    if !spelled {
      ids.removeSubrange(firstPiece...)
      ids.append(unknownID)
    }
  }

  /// Appends the longest piece of `word` from `start` on; returns its length, 0 where there is none.
  @inline(__always)
  private func longestPiece(
    _ word: UnsafeBufferPointer<UInt8>, from start: Int, _ prefix: UnsafeBufferPointer<UInt8>, _ ids: inout [Int32],
    _ hashes: inout [UInt64]
  ) -> Int {
    let longest = min(word.count - start, vocabulary.index.longestByteCount)
    var hash = start == 0 ? FNV1a() : FNV1a(continuationHash)
    hashes.removeAll(keepingCapacity: true)
    for offset in 0..<longest {
      hash.add(word[start + offset])
      hashes.append(hash.value)
    }
    var length = longest
    while length > 0 {
      // A piece ends where a character does.
      let end = start + length
      if end == word.count || word[end] & 0xC0 != 0x80 {
        let piece = UnsafeBufferPointer(rebasing: word[start..<end])
        if let id = vocabulary.index.find(piece, after: prefix, hash: hashes[length - 1]) {
          ids.append(id)
          return length
        }
      }
      length -= 1
    }
    return 0
  }
}

/// Cuts a normalized text at blanks and around punctuation, as BERT's pre-tokenizer does, and gives each word to
/// WordPiece at once: the usual tokenizer in one pass, and the memory that it reuses.
struct WordWriter: ScalarSink {
  private let model: WordPiece
  private(set) var ids: [Int32] = []
  /// The word being read, as UTF-8; no longer filled once it has more than `longestWordCharacters`.
  private var word: [UInt8] = []
  private var wordCharacterCount = 0
  /// The hash of each prefix of the rest of a word.
  private var hashes: [UInt64] = []
  private var pairScratch = BytePairs.Scratch()

  init(_ model: WordPiece) { self.model = model }

  mutating func removeAll() { ids.removeAll(keepingCapacity: true) }

  /// A token that was found as a whole.
  mutating func token(_ id: Int32) { ids.append(id) }

  /// A word that was cut elsewhere.
  mutating func word(_ bytes: UnsafeBufferPointer<UInt8>) {
    switch model.spelling {
    case .pieces: break
    case .characters: return model.appendCharacters(bytes, to: &ids)
    case .bytePairs(let pairs): return pairs.append(bytes, to: &ids, &pairScratch)
    }
    // A character has at most 4 bytes: counted only where the number could matter.
    if bytes.count > model.longestWordCharacters, characterCount(bytes) > model.longestWordCharacters {
      ids.append(model.unknownID)
    } else {
      model.append(bytes, to: &ids, hashes: &hashes)
    }
  }

  mutating func space(_ value: UInt32) { endWord() }

  @inline(__always)
  mutating func letter(_ byte: UInt8) {
    if wordCharacterCount < model.longestWordCharacters { word.append(byte) }
    wordCharacterCount += 1
  }

  mutating func scalar(_ value: UInt32) {
    let isApart = isPunctuation(value)
    if isApart { endWord() }
    if wordCharacterCount < model.longestWordCharacters { append(value, to: &word) }
    wordCharacterCount += 1
    if isApart { endWord() }
  }

  /// Ends the word, if one has begun.
  mutating func endWord() {
    guard wordCharacterCount > 0 else { return }
    if wordCharacterCount <= model.longestWordCharacters {
      word.withUnsafeBufferPointer { model.append($0, to: &ids, hashes: &hashes) }
    } else {
      ids.append(model.unknownID)
    }
    word.removeAll(keepingCapacity: true)
    wordCharacterCount = 0
  }

  private func characterCount(_ bytes: UnsafeBufferPointer<UInt8>) -> Int { bytes.count { $0 & 0xC0 != 0x80 } }
}

/// Writes a normalized text as UTF-8.
struct TextSink: ScalarSink {
  private(set) var bytes: [UInt8] = []

  mutating func space(_ value: UInt32) { append(value, to: &bytes) }
  mutating func scalar(_ value: UInt32) { append(value, to: &bytes) }
  mutating func letter(_ byte: UInt8) { bytes.append(byte) }
}
