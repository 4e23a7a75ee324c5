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
}
