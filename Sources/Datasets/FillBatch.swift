import Batches

extension PackedBatch {
  /// Overwrites the batch with `rows` of `dataset`; allocates only where no batch was as large before.
  public func fill(from dataset: TokenizedDataset, rows: some Sequence<Int>) {
    removeAll(isMultiLabel: dataset.isMultiLabel)
    dataset.inputIDs.withUnsafeBufferPointer { ids in
      dataset.tokenTypeIDs.withUnsafeBufferPointer { types in
        for row in rows {
          let tokens = dataset.tokens(row)
          append(
            row: row, tokenIDs: UnsafeBufferPointer(rebasing: ids[tokens]),
            typeIDs: UnsafeBufferPointer(rebasing: types[tokens]), label: dataset.labels[row])
        }
      }
    }
  }

  private func append(
    row: Int, tokenIDs: UnsafeBufferPointer<Int32>, typeIDs: UnsafeBufferPointer<Int32>, label: Label
  ) {
    switch label {
    case .category(let index): append(row: row, tokenIDs: tokenIDs, typeIDs: typeIDs, class: Int32(index))
    case .score(let value): append(row: row, tokenIDs: tokenIDs, typeIDs: typeIDs, score: value)
    case .unknown: append(row: row, tokenIDs: tokenIDs, typeIDs: typeIDs)
    case .categories(let indices):
      append(row: row, tokenIDs: tokenIDs, typeIDs: typeIDs)
      for index in indices { append(category: Int32(index)) }
    }
  }

  /// The batch as transformers' collator makes it: every row padded to the longest.
  public func padded(padID: Int32) -> PaddedBatch {
    var padded = PaddedBatch(rowCount: sequences, length: longestRow)
    for row in 0..<sequences {
      let (start, count) = (Int(starts[row]), length(row))
      let padding = longestRow - count
      padded.inputIDs += UnsafeBufferPointer(start: tokenIDs + start, count: count)
      padded.inputIDs += repeatElement(padID, count: padding)
      padded.tokenTypeIDs += UnsafeBufferPointer(start: typeIDs + start, count: count)
      padded.tokenTypeIDs += repeatElement(0, count: padding)
      padded.attentionMask += repeatElement(1, count: count)
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
