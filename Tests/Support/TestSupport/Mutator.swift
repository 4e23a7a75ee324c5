/// Changes good inputs to odd ones: a pure function of its seed.
package struct Mutator: Sendable {
  private var random: SplitMix64
  /// What inputs of the format are made of.
  private let dictionary: [[UInt8]]

  package init(seed: UInt64, dictionary: [[UInt8]]) {
    random = SplitMix64(state: seed)
    self.dictionary = dictionary
  }

  /// A number below `limit`.
  package mutating func below(_ limit: Int) -> Int { Int(random.next() % UInt64(max(1, limit))) }

  package mutating func pick<Element>(_ list: [Element]) -> Element { list[below(list.count)] }

  /// One change to four, more of them seldom.
  package mutating func change(_ bytes: inout [UInt8], others: [[UInt8]] = []) {
    repeat { changeOnce(&bytes, others) } while below(2) == 0 && below(3) > 0
  }

  /// Repeats a piece until there are about `size` bytes.
  package mutating func inflate(_ bytes: inout [UInt8], to size: Int) {
    guard !bytes.isEmpty else { return }
    let piece = below(3) == 0 ? line(of: bytes) : range(of: bytes, upTo: 32)
    let content = piece.isEmpty ? [UInt8(below(256))] : Array(bytes[piece])
    let copies = max(1, size / content.count)
    bytes.insert(contentsOf: (0..<copies).lazy.flatMap { _ in content }, at: piece.upperBound)
  }

  private mutating func changeOnce(_ bytes: inout [UInt8], _ others: [[UInt8]]) {
    guard !bytes.isEmpty else {
      bytes = word()
      return
    }
    let place = below(bytes.count)
    let piece = range(of: bytes, upTo: 16)
    switch below(18) {
    case 0: bytes[place] ^= 1 << UInt8(below(8))
    case 1: bytes[place] = UInt8(below(256))
    case 2: bytes.insert(contentsOf: word(), at: place)
    case 3, 4: bytes.replaceSubrange(piece, with: word())
    case 5: bytes.removeSubrange(piece)
    case 6: bytes.insert(contentsOf: bytes[piece], at: place)
    case 7: bytes.swapAt(place, below(bytes.count))
    case 8: if below(4) == 0 { bytes.removeSubrange(place...) }
    case 9, 10: changeNumber(&bytes)
    case 11: changeDigit(&bytes)
    case 12:
      let line = line(of: bytes)
      if below(2) == 0 {
        bytes.removeSubrange(line)
      } else {
        bytes.insert(contentsOf: bytes[line], at: line.lowerBound)
      }
    case 13:
      guard !others.isEmpty else { return }
      let other = pick(others)
      bytes = Array(bytes[..<place]) + other[min(other.count, below(other.count + 1))...]
    case 14: nest(&bytes, at: place)
    case 15, 16: changeText(&bytes)
    default: bytes.insert(contentsOf: repeatElement(bytes[place], count: 1 + below(300)), at: place)
    }
  }

  private mutating func word() -> [UInt8] {
    below(3) == 0 || dictionary.isEmpty ? pick(Self.anyFormat) : pick(dictionary)
  }

  private mutating func range(of bytes: [UInt8], upTo most: Int) -> Range<Int> {
    let start = below(bytes.count)
    return start..<min(bytes.count, start + 1 + below(most))
  }

  /// A line with its end.
  private mutating func line(of bytes: [UInt8]) -> Range<Int> {
    let place = below(bytes.count)
    let start = bytes[..<place].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    return start..<(bytes[place...].firstIndex(of: 0x0A).map { $0 + 1 } ?? bytes.count)
  }

  /// Replaces a number by one that readers are wrong about.
  private mutating func changeNumber(_ bytes: inout [UInt8]) {
    let isDigit = { (byte: UInt8) in (0x30...0x39).contains(byte) }
    let starts = bytes.indices.filter { isDigit(bytes[$0]) && ($0 == 0 || !isDigit(bytes[$0 - 1])) }
    guard !starts.isEmpty else { return }
    let start = pick(starts)
    let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
    bytes.replaceSubrange(start..<end, with: pick(Self.numbers))
  }

  private mutating func changeDigit(_ bytes: inout [UInt8]) {
    let digits = bytes.indices.filter { (0x30...0x39).contains(bytes[$0]) }
    if !digits.isEmpty { bytes[pick(digits)] = 0x30 + UInt8(below(10)) }
  }

  /// Replaces a text in quotation marks by another of the same input, or by a word.
  private mutating func changeText(_ bytes: inout [UInt8]) {
    let quotes = bytes.indices.filter { bytes[$0] == 0x22 }
    guard quotes.count >= 4 else { return }
    func text(_ index: Int) -> Range<Int> { quotes[index]..<quotes[index + 1] + 1 }
    let target = text(below(quotes.count - 1))
    bytes.replaceSubrange(target, with: below(2) == 0 ? Array(bytes[text(below(quotes.count - 1))]) : word())
  }

  private mutating func nest(_ bytes: inout [UInt8], at place: Int) {
    let (open, close) = pick(Self.brackets)
    let depth = pick([2, 100, 130, 2000])
    bytes.insert(contentsOf: repeatElement(close, count: below(2) * depth).joined(), at: place)
    bytes.insert(contentsOf: repeatElement(open, count: depth).joined(), at: place)
  }

  private static let brackets = [("[", "]"), ("{\"a\":", "}"), ("{", "}"), ("(", ")"), ("\n  - ", ""), ("a[", "]")].map
  {
    (Array($0.0.utf8), Array($0.1.utf8))
  }

  private static let numbers = [
    "0", "-1", "-0", "00", "1", "2", "255", "256", "65535", "65536", "2147483647", "2147483648", "4294967295",
    "4294967296", "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "18446744073709551615", "99999999999999999999999", "1e0", "1.0", "1e400", "-1e-400", "0x10", "1_0", "NaN", "inf",
  ].map { Array($0.utf8) }

  /// What readers of text and of JSON are wrong about.
  private static let anyFormat =
    [
      "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\n", "\r\n", "\r", "\t", "-", "+", ".", "=", "/", "..", "#", "'",
      "&",
      "*", "true", "false", "null", "\\u0000", "\\ud83d\\ude00", "\\ud83d", "\\/", "{}", "[]", "\"\"", "\u{FEFF}",
      "e\u{301}", "\u{2028}", "\u{85}", "\u{AD}", "\u{1F600}", "/**/", "%s%n", "\u{1B}[2J",
    ].map { Array($0.utf8) } + [[0], [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0x0b], [0xc2, 0xa0], [0x7f], [0xe4]]
}
