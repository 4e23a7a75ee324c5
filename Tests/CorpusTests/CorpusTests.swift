import Corpus
import System
import Testing

@Suite struct CorpusTests {
  private let corpus = ParaphraseCorpus(seed: 3, trainPairs: 4_000, validationPairs: 1_000)

  @Test func sameSeedGivesTheSameBytes() {
    let again = ParaphraseCorpus(seed: 3, trainPairs: 4_000, validationPairs: 1_000)
    #expect(again.trainTable == corpus.trainTable)
    #expect(again.validationTable == corpus.validationTable)
    let other = ParaphraseCorpus(seed: 4, trainPairs: 4_000, validationPairs: 1_000)
    #expect(other.trainTable != corpus.trainTable)
    #expect(other.validationTable != corpus.validationTable)
  }

  /// The figures in docs/corpus.md hold for these bytes only: whoever changes them runs the search again.
  @Test func standardCorpusIsTheOneThatTheFiguresAreAbout() {
    let standard = ParaphraseCorpus.standard
    #expect(FNV1a.hash(standard.trainTable) == 0x985E_AB43_2ACB_2D68)
    #expect(FNV1a.hash(standard.validationTable) == 0x8477_B620_7628_2B99)
    #expect(FNV1a.hash(standard.vocabulary) == 0x29B5_A45A_B189_817D)
    #expect(FNV1a.hash(Array(ParaphraseCorpus.configJSON.utf8)) == 0xAB08_A162_C935_3447)
  }

  @Test func moreTrainingPairsExtendTheTable() {
    let longer = ParaphraseCorpus(seed: 3, trainPairs: 5_000, validationPairs: 1_000)
    #expect(longer.trainTable.starts(with: corpus.trainTable))
  }

  @Test func tablesHaveTheRowsAskedForAndEachSentenceANumberOfItsOwn() throws {
    let train = try #require(Row.all(of: corpus.trainTable))
    let validation = try #require(Row.all(of: corpus.validationTable))
    #expect(train.count == 4_000 && corpus.trainPairs == 4_000)
    #expect(validation.count == 1_000 && corpus.validationPairs == 1_000)
    #expect((train + validation).flatMap(\.ids) == Array(1...10_000))
    let empty = ParaphraseCorpus(seed: 3, trainPairs: 0, validationPairs: 0)
    #expect(Row.all(of: empty.trainTable)?.isEmpty == true)
  }

  @Test func labelsSayWhetherTheEventsAreTheSame() throws {
    let reader = SentenceReader()
    for row in try #require(Row.all(of: corpus.trainTable + corpus.validationTable.drop { $0 != 0x0A }.dropFirst())) {
      let first = try #require(reader.read(row.sentences[0]), "\(row.sentences[0])")
      let second = try #require(reader.read(row.sentences[1]), "\(row.sentences[1])")
      #expect(row.isParaphrase == (first == second), "\(row)")
      #expect(row.sentences[0] != row.sentences[1])
    }
  }

  @Test func differentEventsDifferInOneSlotHalfAsOftenAsInEachOtherNumber() throws {
    let reader = SentenceReader()
    var counts = [0, 0, 0, 0, 0]
    for row in try #require(Row.all(of: corpus.trainTable)) where !row.isParaphrase {
      let first = try #require(reader.read(row.sentences[0])).all
      let second = try #require(reader.read(row.sentences[1])).all
      counts[zip(first, second).count { $0 != $1 }] += 1
    }
    #expect(counts[0] == 0)
    // About 1,800 negatives, a seventh and three times two sevenths; five standard deviations are 75 and 96.
    let share = counts.reduce(0, +) / 7
    #expect(abs(counts[1] - share) < 75, "\(counts)")
    for count in counts[2...4] { #expect(abs(count - 2 * share) < 96, "\(counts)") }
  }

  @Test func noHeldOutEventOccursInTraining() throws {
    let reader = SentenceReader()
    func events(_ table: [UInt8]) throws -> Set<[String]> {
      Set(try #require(Row.all(of: table)).flatMap(\.sentences).map { try #require(reader.read($0)).all })
    }
    let train = try events(corpus.trainTable)
    let validation = try events(corpus.validationTable)
    #expect(train.isDisjoint(with: validation))
    // Also between corpora of different seeds, so that a model can be judged on the other's validation part.
    let other = ParaphraseCorpus(seed: 4, trainPairs: 4_000, validationPairs: 1_000)
    #expect(train.isDisjoint(with: try events(other.validationTable)))
    // Every meaning is seen in training.
    #expect(Set(train.flatMap { $0 }) == Set(Lexicon.meanings.flatMap { $0 }.map { $0[0] }))
    #expect(validation.count > 50)
  }

  @Test func slightlyMoreThanHalfAreParaphrases() throws {
    let rows = try #require(Row.all(of: corpus.trainTable))
    // 2,200 expected; five standard deviations are 157.
    #expect(abs(rows.count { $0.isParaphrase } - 2_200) < 157)
  }

  @Test func bothVoicesAndBothOrdersOccurInEachPlace() throws {
    let rows = try #require(Row.all(of: corpus.trainTable))
    for place in 0...1 {
      for label in [false, true] {
        let sentences = rows.filter { $0.isParaphrase == label }.map { $0.sentences[place] }
        let passives = sentences.count { $0.contains(" was ") }
        let fronted = sentences.count { $0.hasPrefix("At ") || $0.hasPrefix("In ") }
        #expect(abs(2 * passives - sentences.count) < 240)
        #expect(abs(2 * fronted - sentences.count) < 240)
      }
    }
  }

}
