import System
import Tokenization

/// All rows of a split as token ids, end to end.
public struct TokenizedDataset: Sendable {
  /// [tokens]
  public let inputIDs: [Int32]
  /// [tokens]
  public let tokenTypeIDs: [Int32]
  /// [rows + 1]: row `i` is tokens `offsets[i]..<offsets[i + 1]`.
  public let offsets: [Int]
  /// [rows]
  public let labels: [Label]
  /// The id that fills short rows of a padded batch.
  public let padID: Int32
  /// The tokens of the longest row.
  public let longestRow: Int
  /// The largest token id, and the largest token type: what a model must have embeddings for. An id below 0 counts as a
  /// large one.
  package let largestID: Int
  package let largestType: Int
  /// Whether rows have sets of classes.
  public let isMultiLabel: Bool

  /// Encodes `pairs`, each cut to `maxLength` tokens. Throws `.usage` where that has no room for the special tokens.
  public init(
    _ pairs: some Collection<SentencePair>, tokenizer: BertTokenizer, maxLength: Int? = nil
  ) throws(Failure) {
    var encoder = PairEncoder(tokenizer, maxLength: maxLength)
    var encoding = Encoding()
    var offsets = [0]
    offsets.reserveCapacity(pairs.count + 1)
    var labels: [Label] = []
    labels.reserveCapacity(pairs.count)
    for pair in pairs {
      try encoder.append(pair.first, pair.second, to: &encoding)
      offsets.append(encoding.count)
      labels.append(pair.label)
    }
    self.init(
      inputIDs: encoding.inputIDs, tokenTypeIDs: encoding.tokenTypeIDs, offsets: offsets, labels: labels,
      padID: tokenizer.padID)
  }

  init(inputIDs: [Int32], tokenTypeIDs: [Int32], offsets: [Int], labels: [Label], padID: Int32) {
    self.inputIDs = inputIDs
    self.tokenTypeIDs = tokenTypeIDs
    self.offsets = offsets
    self.labels = labels
    isMultiLabel = labels.contains { if case .categories = $0 { true } else { false } }
    self.padID = padID
    func largest(_ values: [Int32]) -> Int { Int(values.reduce(0) { max($0, UInt32(bitPattern: $1)) }) }
    largestID = largest(inputIDs)
    largestType = largest(tokenTypeIDs)
    longestRow = zip(offsets, offsets.dropFirst()).reduce(0) { max($0, $1.1 - $1.0) }
  }

  /// The number of rows.
  public var count: Int { labels.count }

  /// Where the tokens of `row` are.
  public func tokens(_ row: Int) -> Range<Int> { offsets[row]..<offsets[row + 1] }

  /// A hash of all ids, types, lengths and labels, for finding out whether ranks have read the same rows.
  public var fingerprint: UInt64 {
    var state: UInt64 = 0xCBF2_9CE4_8422_2325
    func add(_ value: UInt64) { state = (state ^ value) &* 0x100_0000_01B3 }
    for id in inputIDs { add(UInt64(UInt32(bitPattern: id))) }
    for type in tokenTypeIDs { add(UInt64(UInt32(bitPattern: type))) }
    for offset in offsets { add(UInt64(offset)) }
    for label in labels {
      switch label {
      case .category(let index): add(UInt64(bitPattern: Int64(index)))
      case .categories(let indices):
        add(1 << 34 | UInt64(indices.count))
        for index in indices { add(UInt64(index)) }
      case .score(let value): add(1 << 32 | UInt64(value.bitPattern))
      case .unknown: add(1 << 33)
      }
    }
    return state
  }
}
