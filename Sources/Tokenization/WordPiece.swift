/// Reused memory of the tokenizer: one word at a time, and the ids found so far.
struct TokenizerScratch {
  /// The word being read, as UTF-8; no longer filled once it has more than `WordPiece.longestWordCharacters`.
  var word: [UInt8] = []
  var wordCharacterCount = 0
  var ids: [Int32] = []
  /// Combining marks that wait to be put in canonical order.
  var marks: [(order: UInt8, value: UInt32)] = []
  /// The hash of each prefix of the rest of a word.
  var hashes: [UInt64] = []
}

/// Spells a word with the vocabulary's pieces, the longest first; pieces inside a word begin with `##`.
/// (Devlin et al. 2018; the greedy search of Schuster and Nakajima 2012.)
enum WordPiece {
  /// A longer word is unknown as a whole.
  static let longestWordCharacters = 100

  private static let continuationPrefix: StaticString = "##"
  private static let continuationHash = hash(hash(emptyHash, adding: 0x23), adding: 0x23)

  /// Appends the pieces of `scratch.word` to `scratch.ids` and empties the word.
  static func flush(_ scratch: inout TokenizerScratch, _ vocabulary: Vocabulary) {
    guard scratch.wordCharacterCount > 0 else { return }
    let firstPiece = scratch.ids.count
    let fits = scratch.wordCharacterCount <= longestWordCharacters
    if !fits || !append(scratch.word, &scratch.ids, &scratch.hashes, vocabulary) {
      scratch.ids.removeSubrange(firstPiece...)
      scratch.ids.append(vocabulary.unknownID)
    }
    scratch.word.removeAll(keepingCapacity: true)
    scratch.wordCharacterCount = 0
  }

  /// Appends the pieces of `word` to `ids`; false where the vocabulary cannot spell it.
  private static func append(
    _ word: [UInt8], _ ids: inout [Int32], _ hashes: inout [UInt64], _ vocabulary: Vocabulary
  ) -> Bool {
    word.withUnsafeBufferPointer { word in
      var start = 0
      while start < word.count {
        let prefix = start == 0 ? "" : continuationPrefix
        let longest = min(word.count - start, vocabulary.index.longestByteCount)
        var state = start == 0 ? emptyHash : continuationHash
        hashes.removeAll(keepingCapacity: true)
        for offset in 0..<longest {
          state = hash(state, adding: word[start + offset])
          hashes.append(state)
        }
        var length = longest
        var piece: Int32?
        while length > 0 {
          // A piece ends where a character does.
          let end = start + length
          if end == word.count || word[end] & 0xC0 != 0x80 {
            piece = vocabulary.index.find(
              UnsafeBufferPointer(rebasing: word[start..<end]), after: prefix, hash: hashes[length - 1])
            if piece != nil { break }
          }
          length -= 1
        }
        guard let piece else { return false }
        ids.append(piece)
        start += length
      }
      return true
    }
  }
}
