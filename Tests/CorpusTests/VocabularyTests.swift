import Corpus
import Testing

@Suite struct VocabularyTests {
  private let lines: [String]

  init() {
    let corpus = ParaphraseCorpus(seed: 1, trainPairs: 0, validationPairs: 0)
    lines = String(decoding: corpus.vocabulary, as: UTF8.self).split(
      separator: "\n", omittingEmptySubsequences: false
    ).dropLast().map(String.init)
  }

  @Test func specialTokensComeFirstAndNoLineTwice() {
    #expect(lines.prefix(5) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    #expect(Set(lines).count == lines.count)
    #expect(!lines.contains(""))
  }

  @Test func everyWordOfTheTablesIsInTheVocabularyAndEveryLineIsUsed() throws {
    let corpus = ParaphraseCorpus(seed: 1, trainPairs: 3_000, validationPairs: 300)
    let rows = try #require(Row.all(of: corpus.trainTable)) + (try #require(Row.all(of: corpus.validationTable)))
    var used: Set<String> = []
    for word in Set(rows.flatMap(\.sentences).flatMap { $0.lowercased().split(separator: " ") }) {
      used.formUnion(try #require(pieces(of: String(word)), "\(word)"))
    }
    #expect(used == Set(lines.dropFirst(5)))
  }

  @Test func someWordsAreOfSeveralPieces() {
    #expect(pieces(of: "springtime") == ["spring", "##time"])
    #expect(pieces(of: "nightfall") == ["night", "##fall"])
    #expect(pieces(of: "fall") == ["fall"])
  }

  @Test func noWordHasTwoMeanings() {
    let words = Lexicon.meanings.flatMap { $0.flatMap { $0 } }.map { $0.lowercased() } + Lexicon.functionWords
    #expect(Set(words).count == words.count)
  }

  @Test func everySlotHasAsManyMeaningsOfAsManyWords() {
    #expect(Lexicon.meanings.count == Lexicon.Slot.allCases.count)
    for slot in Lexicon.meanings {
      #expect(slot.count == Lexicon.meanings[0].count)
      for words in slot { #expect(words.count == Lexicon.meanings[0][0].count) }
    }
    #expect(Lexicon.prepositions.count == Lexicon.meanings[Lexicon.Slot.time.rawValue].count)
  }

  @Test func configurationFitsVocabularyAndSentences() throws {
    let config = ParaphraseCorpus.configJSON
    #expect(config.contains("\"vocab_size\": \(lines.count)\n"))
    #expect(config.contains("\"hidden_dropout_prob\": \(ParaphraseCorpus.recipe.dropout),"))
    // The longest pair: two passives whose time is of two pieces, [CLS] and two [SEP].
    let corpus = ParaphraseCorpus(seed: 1, trainPairs: 3_000, validationPairs: 0)
    let longest = try #require(Row.all(of: corpus.trainTable)).map { row in
      try row.sentences.reduce(3) {
        try $0 + $1.lowercased().split(separator: " ").reduce(0) { $0 + (try #require(pieces(of: String($1)))).count }
      }
    }.max()
    #expect(longest == 23)
    #expect(config.contains("\"max_position_embeddings\": 32,"))
  }

  /// Greedy longest match first, as WordPiece does it; nil for a word that would become `[UNK]`.
  private func pieces(of word: String) -> [String]? {
    var result: [String] = []
    var rest = Substring(word)
    while !rest.isEmpty {
      let prefix = result.isEmpty ? "" : "##"
      guard
        let count = stride(from: rest.count, to: 0, by: -1).first(where: { lines.contains(prefix + rest.prefix($0)) })
      else { return nil }
      result.append(prefix + rest.prefix(count))
      rest = rest.dropFirst(count)
    }
    return result
  }
}
