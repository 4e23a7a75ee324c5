import System

/// Turns a text to ids: finds added tokens, normalizes what is between them, cuts it into words and spells these.
struct TextReader: Sendable {
  /// The memory that reading many texts uses again.
  struct Scratch {
    fileprivate var words: WordWriter
    fileprivate var marks: BertNormalizer.Marks = []
    /// The first token without a row that a text spelled.
    fileprivate var withoutRow: Int32?
    var ids: [Int32] { words.ids }

    init(_ reader: TextReader) { words = WordWriter(reader.model) }

    mutating func removeAll() {
      words.removeAll()
      withoutRow = nil
    }
  }

  fileprivate let model: WordPiece
  private let normalizer: Normalizer
  private let preTokenizer: PreTokenizer
  private let addsPrefixSpace: Bool
  /// The finders of added tokens in text as it is, and in normalized text.
  private let plain: AddedTokenFinder?
  private let normalized: AddedTokenFinder?
  /// BERT's normalizer where its pre-tokenizer follows and nothing is found in between: one pass instead of three.
  private let fast: BertNormalizer?
  private let rows: Int32
  private let added: [Int32: AddedToken]

  init(_ recipe: TokenizerRecipe, _ files: TokenizerFiles, rows: Int?) throws(Failure) {
    let settings = recipe.settings
    guard let unknownID = recipe.pairs == nil ? recipe.vocabulary.id(of: settings.unknownToken) : 0 else {
      throw Failure(
        .badData, at: files.vocabularyPath,
        "has no token \(quoted(settings.unknownToken)) in \(recipe.vocabulary.count) tokens, which is unk_token",
        hint: "transformers fails at the first word that the vocabulary cannot spell")
    }
    model = WordPiece(
      recipe.vocabulary, unknownID: unknownID, continuationPrefix: settings.continuationPrefix,
      longestWordCharacters: settings.longestWordCharacters,
      spelling: recipe.pairs.map { .bytePairs($0) } ?? (settings.spellsCharacters ? .characters : .pieces))
    normalizer = settings.normalizer
    preTokenizer = settings.preTokenizer
    addsPrefixSpace = settings.preTokenizer.addsPrefixSpace
    let path = files.path(files.bytes("tokenizer.json") == nil ? "tokenizer_config.json" : "tokenizer.json")
    plain = try settings.added.finder(
      normalized: false, splitsSpecials: settings.splitsSpecials, path: path
    ) { $0 }
    normalized = try settings.added.finder(
      normalized: true, splitsSpecials: settings.splitsSpecials, path: path, settings.normalizer.normalized)
    fast =
      if case .bert(let bert) = settings.normalizer, settings.preTokenizer == .bert, normalized == nil { bert } else {
        nil
      }
    self.rows = rows.flatMap { Int32(exactly: $0) } ?? .max
    added = settings.added.tokens
  }

  /// Appends the ids of `text`, without special tokens around it.
  func read(_ text: [UInt8], into scratch: inout Scratch) {
    text.withUnsafeBufferPointer { text in
      guard let plain else { return readBetween(text, &scratch) }
      plain.split(text) { piece in
        if let id = piece.id {
          take(id, &scratch)
        } else {
          readBetween(UnsafeBufferPointer(rebasing: text[piece.range]), &scratch)
        }
      }
    }
  }

  /// Throws where a text spelled a token that the model has no row for.
  func requireRows(_ scratch: Scratch) throws(Failure) {
    guard let id = scratch.withoutRow else { return }
    throw Failure(
      .badData,
      "a text spells \(quoted(added[id]?.content ?? [])), which transformers numbers \(id) behind the vocabulary, but the "
        + "model has \(rows) rows")
  }

  private func take(_ id: Int32, _ scratch: inout Scratch) {
    if id >= rows && scratch.withoutRow == nil { scratch.withoutRow = id }
    scratch.words.token(id)
  }

  /// A text without tokens that are found in text as it is.
  private func readBetween(_ text: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch) {
    if let fast {
      fast.read(text, marks: &scratch.marks, into: &scratch.words)
      return scratch.words.endWord()
    }
    let clean = firstInvalidUTF8(in: text) == nil ? Array(text) : encoded(scalars(text))
    normalizer.normalized(clean).withUnsafeBufferPointer { text in
      guard let normalized else { return cut(text, &scratch) }
      normalized.split(text) { piece in
        if let id = piece.id {
          take(id, &scratch)
        } else {
          cut(UnsafeBufferPointer(rebasing: text[piece.range]), &scratch)
        }
      }
    }
  }

  private func cut(_ text: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch) {
    guard let first = text.first else { return }
    if addsPrefixSpace && first != 0x20 {
      return ([0x20] + text).withUnsafeBufferPointer { cut($0, &scratch) }
    }
    for range in preTokenizer.split(text, [0..<text.count]) {
      scratch.words.word(UnsafeBufferPointer(rebasing: text[range]))
    }
  }
}

extension TokenizerRecipe {
  /// Checks that the model has a row for every id that a file names.
  func requireRows(_ rows: Int, _ files: TokenizerFiles) throws(Failure) {
    let reason = "(\"vocab_size\" of config.json)"
    if vocabulary.largestID >= rows {
      throw Failure(
        .badData, at: files.vocabularyPath,
        "has \(vocabulary.largestID + 1) tokens, expected at most \(rows) \(reason)")
    }
    func require(_ id: Int32, _ token: String) throws(Failure) {
      guard id >= rows else { return }
      throw Failure(
        .badData, at: files.vocabularyPath, "\(token) has the id \(id), expected fewer than \(rows) \(reason)",
        hint: "resize_token_embeddings of the transformers model adds rows")
    }
    for (id, token) in settings.added.tokens.sorted(by: { $0.key < $1.key })
    where !impliedTokens.contains(token.content) {
      try require(id, "the added token \(quoted(token.content))")
    }
    for id in settings.template.ids {
      try require(id, "the token \(quoted(settings.added.tokens[id]?.content ?? [])) of every row")
    }
  }
}

extension TokenizerFiles {
  /// The file that holds the vocabulary.
  var vocabularyPath: String {
    path(["tokenizer.json", "vocab.txt", "vocab.json"].first { bytes($0) != nil } ?? "vocab.txt")
  }
}
