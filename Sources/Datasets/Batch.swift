/// The rows of one step on one rank, packed: their tokens end to end, without padding. Filled again and again.
public struct Batch: Sendable {
  /// [tokens]
  public private(set) var inputIDs: [Int32] = []
  /// [tokens]
  public private(set) var tokenTypeIDs: [Int32] = []
  /// [rows + 1]: row `i` of the batch is tokens `offsets[i]..<offsets[i + 1]`.
  public private(set) var offsets: [Int32] = [0]
  /// [rows]: the class, or -1 where the row has none.
  public private(set) var labels: [Int32] = []
  /// [rows]: the score of a regression task, or 0 where the row has none.
  public private(set) var scores: [Float] = []
  /// Classes of rows that may have several, end to end; empty for other tasks.
  public private(set) var categories: [Int32] = []
  /// [rows + 1]: row `i` has `categories[categoryOffsets[i]..<categoryOffsets[i + 1]]`.
  public private(set) var categoryOffsets: [Int32] = [0]
  /// Whether rows have sets of classes, so that the loss is binary cross-entropy.
  public private(set) var isMultiLabel = false
  /// [rows]: the rows' numbers in the dataset.
  public private(set) var rows: [Int] = []

  public init() {}

  /// The number of rows.
  public var count: Int { rows.count }
  /// The number of tokens of all rows.
  public var tokenCount: Int { inputIDs.count }
  /// The tokens of the longest row, to which a padded batch is padded.
  public private(set) var longestRow = 0

  /// Makes room for the largest batch, so that ``fill(from:rows:)`` never allocates.
  public mutating func reserveCapacity(rows rowCount: Int, tokens: Int) {
    inputIDs.reserveCapacity(tokens)
    tokenTypeIDs.reserveCapacity(tokens)
    offsets.reserveCapacity(rowCount + 1)
    labels.reserveCapacity(rowCount)
    scores.reserveCapacity(rowCount)
    categoryOffsets.reserveCapacity(rowCount + 1)
    rows.reserveCapacity(rowCount)
  }

  /// Overwrites the batch with `rows` of `dataset`; allocates only where no batch was as large before.
  public mutating func fill(from dataset: TokenizedDataset, rows newRows: [Int]) {
    inputIDs.removeAll(keepingCapacity: true)
    tokenTypeIDs.removeAll(keepingCapacity: true)
    offsets.removeAll(keepingCapacity: true)
    labels.removeAll(keepingCapacity: true)
    scores.removeAll(keepingCapacity: true)
    categories.removeAll(keepingCapacity: true)
    categoryOffsets.removeAll(keepingCapacity: true)
    rows.removeAll(keepingCapacity: true)
    longestRow = 0
    isMultiLabel = dataset.isMultiLabel
    offsets.append(0)
    categoryOffsets.append(0)
    for row in newRows {
      let tokens = dataset.tokens(row)
      inputIDs.append(contentsOf: dataset.inputIDs[tokens])
      tokenTypeIDs.append(contentsOf: dataset.tokenTypeIDs[tokens])
      offsets.append(Int32(inputIDs.count))
      longestRow = max(longestRow, tokens.count)
      rows.append(row)
      append(dataset.labels[row])
    }
  }

  private mutating func append(_ label: Label) {
    var (category, score): (Int32, Float) = (-1, 0)
    switch label {
    case .category(let index): category = Int32(index)
    case .categories(let indices): for index in indices { categories.append(Int32(index)) }
    case .score(let value): score = value
    case .unknown: break
    }
    labels.append(category)
    scores.append(score)
    categoryOffsets.append(Int32(categories.count))
  }

  /// The batch as transformers' collator makes it: every row padded to the longest.
  public func padded(padID: Int32) -> PaddedBatch {
    var padded = PaddedBatch(rowCount: count, length: longestRow)
    for row in 0..<count {
      let tokens = Int(offsets[row])..<Int(offsets[row + 1])
      let padding = longestRow - tokens.count
      padded.inputIDs += inputIDs[tokens] + repeatElement(padID, count: padding)
      padded.tokenTypeIDs += tokenTypeIDs[tokens] + repeatElement(0, count: padding)
      padded.attentionMask += repeatElement(1, count: tokens.count)
      padded.attentionMask += repeatElement(0, count: padding)
    }
    return padded
  }
}

/// A batch as a rectangle of rows, for looking at.
public struct PaddedBatch: Sendable, Equatable {
  public let rowCount: Int
  /// Tokens of each row, padding included.
  public let length: Int
  /// [rows, length]
  public fileprivate(set) var inputIDs: [Int32] = []
  /// [rows, length]
  public fileprivate(set) var tokenTypeIDs: [Int32] = []
  /// [rows, length]: 1 for a token, 0 for padding.
  public fileprivate(set) var attentionMask: [Int32] = []

  fileprivate init(rowCount: Int, length: Int) {
    self.rowCount = rowCount
    self.length = length
  }
}
