import System
import Tokenization

/// What rank 0 tells the others to do next.
enum QuestionRound: Equatable {
  /// Nothing has come; ask again a little later.
  case idle
  case rows([Encoding])
  /// The input has ended.
  case end

  /// The kind, then for rows their number, lengths, ids and types.
  var bytes: [UInt8] {
    switch self {
    case .idle: return [0]
    case .end: return [2]
    case .rows(let rows):
      var numbers = [Int32(rows.count)] + rows.map { Int32($0.count) }
      for row in rows { numbers += row.inputIDs }
      for row in rows { numbers += row.tokenTypeIDs }
      return [1] + numbers.withUnsafeBytes { Array($0) }
    }
  }

  /// The inverse of `bytes`, which come from rank 0 of this job.
  init(_ bytes: [UInt8]) {
    guard bytes.first == 1 else {
      self = bytes.first == 0 ? .idle : .end
      return
    }
    let numbers = bytes.withUnsafeBytes { buffer in
      (0..<(buffer.count - 1) / 4).map { buffer.loadUnaligned(fromByteOffset: 1 + 4 * $0, as: Int32.self) }
    }
    let count = Int(numbers[0])
    // There may be no row at all, where none of the lines can be asked.
    let lengths = numbers[1..<1 + count].map { Int($0) }
    let total = lengths.reduce(0, +)
    precondition(
      numbers.count == 1 + count + 2 * total, "\(numbers.count) numbers for \(count) rows of \(total) tokens")
    var (rows, start): ([Encoding], Int) = ([], 1 + count)
    for length in lengths {
      rows.append(
        Encoding(
          inputIDs: Array(numbers[start..<start + length]),
          tokenTypeIDs: Array(numbers[start + total..<start + total + length])))
      start += length
    }
    self = .rows(rows)
  }
}
