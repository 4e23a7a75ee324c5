/// The rows of a table, with their sentences end to end in one text: a row takes 32 bytes beside its text.
///
/// An array of ``SentencePair`` would take about 150, which counts where rows are short and many.
public struct SentencePairs: RandomAccessCollection, Sendable {
  private struct Row {
    var first: Range<UInt32>
    var second: Range<UInt32>
    var label: Label
  }

  /// What the rows are ranges of; a table's reader hands it over when all rows are there.
  var text: [UInt8]
  /// Rows of the table that had too few cells and are not among these.
  public internal(set) var rowsLeftOut = 0
  private var rows: [Row] = []
  private let hasSecondSentence: Bool

  /// No rows yet; they will be ranges of `text`, or of what is appended to it.
  init(text: [UInt8] = [], hasSecondSentence: Bool) {
    self.text = text
    self.hasSecondSentence = hasSecondSentence
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { rows.count }

  public subscript(index: Int) -> SentencePair {
    let row = rows[index]
    return SentencePair(
      first: sentence(row.first), second: hasSecondSentence ? sentence(row.second) : nil, label: row.label)
  }

  private func sentence(_ range: Range<UInt32>) -> [UInt8] {
    Array(text[Int(range.lowerBound)..<Int(range.upperBound)])
  }

  mutating func reserveCapacity(_ count: Int) { rows.reserveCapacity(count) }

  /// Adds a row whose sentences are in the text already.
  mutating func append(first: Range<Int>, second: Range<Int>?, label: Label) {
    func narrow(_ range: Range<Int>) -> Range<UInt32> { UInt32(range.lowerBound)..<UInt32(range.upperBound) }
    rows.append(Row(first: narrow(first), second: narrow(second ?? 0..<0), label: label))
  }

  /// Adds a row and its text.
  mutating func append(first: [UInt8], second: [UInt8]?, label: Label) {
    func add(_ sentence: [UInt8]) -> Range<Int> {
      text += sentence
      return text.count - sentence.count..<text.count
    }
    append(first: add(first), second: second.map(add), label: label)
  }
}
