/// Unicode's normalization forms. (Unicode 16, section 3.11: decompose, put marks in canonical order, compose.)
enum UnicodeForm: Sendable, Equatable {
  case nfd, nfc, nfkd, nfkc

  /// Whose Unicode: that of Hugging Face's `tokenizers` (version 9), or Python's (14), which transformers uses where it
  /// tokenizes in Python.
  enum Version {
    case tokenizers, python
  }

  func normalized(_ values: [UInt32], _ version: Version = .tokenizers) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(values.count)
    for value in values { decompose(value, version, into: &result) }
    let combiningClass = version == .python ? Python.combiningClass : Tokenization.combiningClass
    order(&result, combiningClass)
    return self == .nfc || self == .nfkc ? composed(result, version, combiningClass) : result
  }

  private func decompose(_ value: UInt32, _ version: Version, into result: inout [UInt32]) {
    guard value >= 0xA0 else { return result.append(value) }
    if (0xAC00...0xD7A3).contains(value) { return decomposeHangul(value) { result.append($0) } }
    typealias Tables = NormalizationTables
    if version == .python, let index = position(of: value, in: Tables.laterFrom),
      self == .nfkd || self == .nfkc || Self.laterPair(of: value) != nil
    {
      result += Tables.laterTo[Int(Tables.laterStart[index])..<Int(Tables.laterStart[index + 1])]
    } else if self == .nfkd || self == .nfkc, let index = position(of: value, in: Tables.compatibleFrom) {
      result += Tables.compatibleTo[Int(Tables.compatibleStart[index])..<Int(Tables.compatibleStart[index + 1])]
    } else if let index = position(of: value, in: Tables.canonicalFrom) {
      result += Tables.canonicalTo[Int(Tables.canonicalStart[index])..<Int(Tables.canonicalStart[index + 1])]
    } else {
      result.append(value)
    }
  }

  /// Sorts each run of marks by combining class, equal ones as they stand.
  private func order(_ values: inout [UInt32], _ combiningClass: (UInt32) -> UInt8) {
    var start = 0
    while start < values.count {
      guard combiningClass(values[start]) != 0 else {
        start += 1
        continue
      }
      var run: [(order: UInt8, value: UInt32)] = []
      while start + run.count < values.count {
        let value = values[start + run.count]
        let order = combiningClass(value)
        guard order != 0 else { break }
        run.append((order, value))
      }
      let sorted = run.enumerated().sorted { ($0.element.order, $0.offset) < ($1.element.order, $1.offset) }
      for (offset, mark) in sorted.enumerated() { values[start + offset] = mark.element.value }
      start += run.count
    }
  }

  private func composed(_ values: [UInt32], _ version: Version, _ combiningClass: (UInt32) -> UInt8) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(values.count)
    /// Where in `result` the last scalar of class 0 is, which what follows may join.
    var starter: Int?
    var lastClass: UInt8 = 0
    for value in values {
      let valueClass = combiningClass(value)
      if let starter, result.count == starter + 1 || lastClass < valueClass && lastClass != 0,
        let joined = Self.join(result[starter], value, version)
      {
        result[starter] = joined
        continue
      }
      if valueClass == 0 { starter = result.count }
      lastClass = valueClass
      result.append(value)
    }
    return result
  }

  /// What `first` and `second` become together; nil where they stay apart.
  private static func join(_ first: UInt32, _ second: UInt32, _ version: Version) -> UInt32? {
    if (0x1100..<0x1113).contains(first) && (0x1161..<0x1176).contains(second) {
      return 0xAC00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
    }
    if (0xAC00...0xD7A3).contains(first) && (first - 0xAC00) % 28 == 0 && (0x11A8..<0x11C3).contains(second) {
      return first + second - 0x11A7
    }
    if version == .python, let pair = laterPairs.first(where: { $0.first == first && $0.second == second }) {
      return pair.joined
    }
    let table = NormalizationTables.composed
    var low = 0
    var high = table.count / 3
    while low < high {
      let middle = (low + high) / 2
      if (table[3 * middle], table[3 * middle + 1]) < (first, second) { low = middle + 1 } else { high = middle }
    }
    guard 3 * low < table.count, table[3 * low] == first, table[3 * low + 1] == second else { return nil }
    return table[3 * low + 2]
  }

  /// The few pairs that only Python's Unicode joins.
  private static let laterPairs = stride(from: 0, to: NormalizationTables.laterComposed.count, by: 3).map { start in
    let triple = NormalizationTables.laterComposed[start..<start + 3]
    return (first: triple[start], second: triple[start + 1], joined: triple[start + 2])
  }

  private static func laterPair(of value: UInt32) -> (first: UInt32, second: UInt32, joined: UInt32)? {
    laterPairs.first { $0.joined == value }
  }
}
