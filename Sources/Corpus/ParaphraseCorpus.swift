import System

/// A made-up paraphrase corpus in MRPC's columns: one event told twice, or two events that share words.
///
/// It is made from a seed, the same bytes on every machine. What it says is a toy: four slots, five meanings each, two
/// words for each meaning (``Lexicon``), four orders of words. docs/corpus.md has the grammar and what it is not.
public struct ParaphraseCorpus: Sendable {
  /// The training part: tab-separated UTF-8 text with MRPC's header, one pair per line, each line ended by LF.
  public let trainTable: [UInt8]
  /// The held-out part, in the same form. No event of it, hence no sentence, occurs in the training part.
  public let validationTable: [UInt8]
  /// The pairs of ``trainTable``.
  public let trainPairs: Int
  /// The pairs of ``validationTable``.
  public let validationPairs: Int

  /// The corpus that `./launch` trains on: every default is here.
  public static var standard: ParaphraseCorpus {
    ParaphraseCorpus(seed: 20, trainPairs: 60_000, validationPairs: 2_000)
  }

  /// Draws `trainPairs` and `validationPairs` pairs from `seed`.
  public init(seed: UInt64, trainPairs: Int, validationPairs: Int) {
    precondition(trainPairs >= 0 && validationPairs >= 0, "\(trainPairs) and \(validationPairs) pairs, expected >= 0")
    self.trainPairs = trainPairs
    self.validationPairs = validationPairs
    let writer = SentenceWriter()
    trainTable = Self.table(
      of: trainPairs, firstID: 1, from: PairGenerator(seed: seed, heldOut: false), writer: writer)
    validationTable = Self.table(
      of: validationPairs, firstID: 1 + 2 * trainPairs, from: PairGenerator(seed: seed, heldOut: true), writer: writer)
  }

  /// `vocab.txt`: one WordPiece per line.
  public var vocabulary: [UInt8] { Array((Lexicon.vocabulary.joined(separator: "\n") + "\n").utf8) }

  /// What needs no learning, judged on the validation part.
  public func baselines() -> Baselines { Baselines(training: trainTable, validation: validationTable) }

  /// Writes a checkpoint folder without weights (`config.json`, `tokenizer_config.json`, `vocab.txt`) with the data
  /// beside it (`train.tsv`, `dev.tsv`).
  public func write(to folder: String) throws(Failure) {
    try makeDirectory(folder)
    let files: [(name: String, bytes: [UInt8])] = [
      ("config.json", Array(Self.configJSON.utf8)), ("tokenizer_config.json", Array(Self.tokenizerConfigJSON.utf8)),
      ("vocab.txt", vocabulary), ("train.tsv", trainTable), ("dev.tsv", validationTable),
    ]
    for file in files { try writeAtomically(file.bytes, to: "\(folder)/\(file.name)") }
  }

  /// `count` lines below MRPC's header; sentences are numbered from `firstID`.
  private static func table(
    of count: Int, firstID: Int, from generator: PairGenerator, writer: SentenceWriter
  ) -> [UInt8] {
    var generator = generator
    var bytes = Array("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n".utf8)
    bytes.reserveCapacity(bytes.count + 128 * count)
    for row in 0..<count {
      let pair = generator.next()
      bytes.append(pair.isParaphrase ? UInt8(ascii: "1") : UInt8(ascii: "0"))
      for id in [firstID + 2 * row, firstID + 2 * row + 1] {
        bytes.append(UInt8(ascii: "\t"))
        appendDecimal(id, to: &bytes)
      }
      bytes.append(UInt8(ascii: "\t"))
      writer.append(pair.first, to: &bytes)
      bytes.append(UInt8(ascii: "\t"))
      writer.append(pair.second, to: &bytes)
      bytes.append(UInt8(ascii: "\n"))
    }
    return bytes
  }

  private static func appendDecimal(_ number: Int, to bytes: inout [UInt8]) {
    if number >= 10 { appendDecimal(number / 10, to: &bytes) }
    bytes.append(UInt8(ascii: "0") + UInt8(number % 10))
  }
}
