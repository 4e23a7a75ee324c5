import System
import Tokenization

extension TokenizedDataset {
  /// Rows that were encoded elsewhere: a data set of one's own.
  ///
  /// - Parameters:
  ///   - rows: each row's token ids and types.
  ///   - labels: as many as rows; `.unknown` where there is none.
  ///   - padID: fills short rows of a padded batch.
  public init(rows: [Encoding], labels: [Label], padID: Int32 = 0) throws(Failure) {
    guard rows.count == labels.count else {
      throw Failure(.usage, "a data set of \(rows.count) rows and \(labels.count) labels, expected as many")
    }
    for (index, row) in rows.enumerated() where row.inputIDs.count != row.tokenTypeIDs.count || row.inputIDs.isEmpty {
      throw Failure(
        .badData,
        "row \(index + 1) has \(row.inputIDs.count) token ids and \(row.tokenTypeIDs.count) types, expected as "
          + "many of both and at least one")
    }
    self.init(
      inputIDs: rows.flatMap(\.inputIDs), tokenTypeIDs: rows.flatMap(\.tokenTypeIDs),
      offsets: rows.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }, labels: labels, padID: padID)
  }
}
