import System

/// Reads a text to entries. See ``JSONDocument``.
struct JSONReader {
  private let bytes: UnsafeBufferPointer<UInt8>
  private var position = 0
  private var entries: [JSONEntry] = []
  /// The containers that are open: the index of each.
  private var open: [Int] = []

  init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  mutating func read() throws(JSONError) -> [JSONEntry] {
    guard bytes.count < UInt32.max else { throw JSONError(offset: 0, message: "is larger than 4 GB") }
    try refuseOtherEncodings()
    try value()
    while let container = open.last {
      if entries[container].kind == .object { try member(of: container) } else { try element(of: container) }
    }
    guard peek() == nil else { throw unexpected("the end") }
    return entries
  }

  /// Texts of Windows programs, which other readers may accept and transformers does not.
  private func refuseOtherEncodings() throws(JSONError) {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
      throw JSONError(offset: 0, message: "starts with a byte order mark, expected UTF-8 without one")
    }
    let isUTF16 = bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
    if isUTF16 || (bytes.count > 1 && (bytes[0] == 0) != (bytes[1] == 0)) {
      throw JSONError(offset: 0, message: "is UTF-16 text, expected UTF-8")
    }
  }

  // MARK: Values

  /// A value at the position; a container is left open.
  private mutating func value() throws(JSONError) {
    switch peek() {
    case UInt8(ascii: "{"): try openContainer(.object)
    case UInt8(ascii: "["): try openContainer(.array)
    case UInt8(ascii: "\""): try string()
    case UInt8(ascii: "t"): try word("true", .bool)
    case UInt8(ascii: "f"): try word("false", .bool)
    case UInt8(ascii: "n"): try word("null", .null)
    case UInt8(ascii: "-"): try number()
    case .some(let byte) where isDigit(byte): try number()
    default: throw unexpected("a value")
    }
  }

  private mutating func openContainer(_ kind: JSONEntry.Kind) throws(JSONError) {
    guard open.count < JSONDocument.limitDepth else {
      throw error("is nested more than \(JSONDocument.limitDepth) deep")
    }
    open.append(entries.count)
    entries.append(JSONEntry(start: UInt32(position), end: 0, next: 0, kind: kind))
    position += 1
  }

  private mutating func close(_ container: Int) {
    position += 1
    entries[container].end = UInt32(position)
    entries[container].next = UInt32(entries.count)
    open.removeLast()
  }

  /// The next element of an array and what follows, or its end.
  private mutating func element(of container: Int) throws(JSONError) {
    let isFirst = entries.count == container + 1
    if peek() == UInt8(ascii: "]") { return close(container) }
    if !isFirst {
      guard peek() == UInt8(ascii: ",") else { throw unexpected("\",\" or \"]\"") }
      position += 1
      if peek() == UInt8(ascii: "]") { throw unexpected("a value after \",\"") }
    }
    try value()
  }

  /// The next key and value of an object, or its end.
  private mutating func member(of container: Int) throws(JSONError) {
    let isFirst = entries.count == container + 1
    if peek() == UInt8(ascii: "}") {
      try refuseEqualKeys(container)
      return close(container)
    }
    if !isFirst {
      guard peek() == UInt8(ascii: ",") else { throw unexpected("\",\" or \"}\"") }
      position += 1
    }
    guard peek() == UInt8(ascii: "\"") else { throw unexpected("a key in quotation marks") }
    try string()
    guard peek() == UInt8(ascii: ":") else { throw unexpected("\":\" after a key") }
    position += 1
    try value()
  }

  private mutating func append(_ kind: JSONEntry.Kind, from start: Int) {
    entries.append(
      JSONEntry(start: UInt32(start), end: UInt32(position), next: UInt32(entries.count + 1), kind: kind))
  }

  private mutating func word(_ word: StaticString, _ kind: JSONEntry.Kind) throws(JSONError) {
    let start = position
    let end = position + word.utf8CodeUnitCount
    guard end <= bytes.count,
      bytes[start..<end].elementsEqual(UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    else { throw unexpected("a value") }
    position = end
    append(kind, from: start)
  }

  private mutating func number() throws(JSONError) {
    let start = position
    if at("-") { position += 1 }
    if at("0") {
      position += 1
      if let byte = current, isDigit(byte) { throw JSONError(offset: start, message: "a number has a leading zero") }
    } else {
      try digits()
    }
    if at(".") {
      position += 1
      try digits()
    }
    if at("e") || at("E") {
      position += 1
      if at("+") || at("-") { position += 1 }
      try digits()
    }
    append(.number, from: start)
  }

  private mutating func digits() throws(JSONError) {
    let start = position
    while let byte = current, isDigit(byte) { position += 1 }
    guard position > start else { throw unexpected("a digit") }
  }

  // MARK: Strings

  /// Checks a string, escapes and UTF-8 included.
  private mutating func string() throws(JSONError) {
    let start = position
    position += 1
    var isASCII = true
    while let byte = current {
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        if !isASCII { try checkUTF8(start..<position) }
        return append(.string, from: start)
      case UInt8(ascii: "\\"): try escape()
      case ..<0x20:
        throw JSONError(
          offset: position - 1, message: "a string has a control character; it is written \\u00\(hex(byte))")
      case 0x80...: isASCII = false
      default: break
      }
    }
    throw JSONError(offset: start, message: "a string does not end")
  }

  private func checkUTF8(_ range: Range<Int>) throws(JSONError) {
    guard String(validating: bytes[range], as: UTF8.self) != nil else {
      throw JSONError(offset: range.lowerBound, message: "a string is not UTF-8")
    }
  }

  /// What follows a backslash.
  private mutating func escape() throws(JSONError) {
    guard let byte = current else { return }
    position += 1
    switch byte {
    case UInt8(ascii: "u"):
      let start = position - 2
      let code = try fourDigits()
      guard code & 0xF800 == 0xD800 else { return }
      // A surrogate: the first half, and the second right behind it.
      guard code < 0xDC00, at("\\") else { throw JSONError(offset: start, message: "half a surrogate pair") }
      position += 1
      guard at("u") else { throw JSONError(offset: start, message: "half a surrogate pair") }
      position += 1
      guard try fourDigits() & 0xFC00 == 0xDC00 else {
        throw JSONError(offset: start, message: "half a surrogate pair")
      }
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
      UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      break
    default: throw JSONError(offset: position - 2, message: "an escape that JSON does not have")
    }
  }

  private mutating func fourDigits() throws(JSONError) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = current, let digit = hexDigit(byte) else {
        throw JSONError(offset: position, message: "\\u needs four hexadecimal digits")
      }
      code = code << 4 | digit
      position += 1
    }
    return code
  }

  // MARK: Keys

  /// Two equal keys: Python and transformers take the last one, others the first.
  private func refuseEqualKeys(_ container: Int) throws(JSONError) {
    var keys: [(hash: UInt64, index: Int)] = []
    var index = container + 1
    while index < entries.count {
      keys.append((hash(of: index), index))
      index = Int(entries[index + 1].next)
    }
    guard keys.count > 1 else { return }
    // Keys of one hash, which a hostile file may be full of, in their own order: equal ones are neighbours.
    keys.sort { a, b in
      if a.hash != b.hash { return a.hash < b.hash }
      let names = [a, b].map { unescaped(bytes, entries[$0.index]) }
      return names[0] == names[1] ? a.index < b.index : names[0].lexicographicallyPrecedes(names[1])
    }
    for (a, b) in zip(keys, keys.dropFirst()) where a.hash == b.hash {
      let names = [a, b].map { unescaped(bytes, entries[$0.index]) }
      guard names[0] == names[1] else { continue }
      let shown = String(decoding: names[0].prefix(60), as: UTF8.self)
      throw JSONError(offset: Int(entries[b.index].start), message: "the key \"\(shown)\" is there twice")
    }
  }

  /// Over the key as it means.
  private func hash(of index: Int) -> UInt64 {
    let entry = entries[index]
    let text = bytes[Int(entry.start) + 1..<Int(entry.end) - 1]
    return text.contains(UInt8(ascii: "\\")) ? FNV1a.hash(unescaped(bytes, entry)) : FNV1a.hash(text)
  }

  // MARK: Bytes

  private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func at(_ character: Unicode.Scalar) -> Bool { current == UInt8(ascii: character) }

  private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  /// The next byte after blanks; nil at the end.
  private mutating func peek() -> UInt8? {
    while let byte = current {
      guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return byte }
      position += 1
    }
    return nil
  }

  private func error(_ message: String) -> JSONError { JSONError(offset: position, message: message) }

  private func unexpected(_ expectation: String) -> JSONError {
    guard let byte = current else { return error("ends, expected \(expectation)") }
    let isVisible = (0x21..<0x7F).contains(byte)
    return error(
      "\(isVisible ? "\"\(Character(UnicodeScalar(byte)))\"" : "byte 0x\(hex(byte))"), expected \(expectation)")
  }
}

private func hex(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }

func hexDigit(_ byte: UInt8) -> UInt32? {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
  case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
  case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
  default: nil
  }
}

/// The text that the string `entry`, which was checked, stands for.
func unescaped(_ bytes: UnsafeBufferPointer<UInt8>, _ entry: JSONEntry) -> [UInt8] {
  let text = bytes[Int(entry.start) + 1..<Int(entry.end) - 1]
  guard text.contains(UInt8(ascii: "\\")) else { return Array(text) }
  var result: [UInt8] = []
  result.reserveCapacity(text.count)
  var index = text.startIndex
  func code() -> UInt32 {
    defer { index += 4 }
    return text[index..<index + 4].reduce(0) { $0 << 4 | (hexDigit($1) ?? 0) }
  }
  while index < text.endIndex {
    let byte = text[index]
    index += 1
    guard byte == UInt8(ascii: "\\") else {
      result.append(byte)
      continue
    }
    let escape = text[index]
    index += 1
    switch escape {
    case UInt8(ascii: "b"): result.append(0x08)
    case UInt8(ascii: "f"): result.append(0x0C)
    case UInt8(ascii: "n"): result.append(0x0A)
    case UInt8(ascii: "r"): result.append(0x0D)
    case UInt8(ascii: "t"): result.append(0x09)
    case UInt8(ascii: "u"):
      var scalar = code()
      if scalar & 0xFC00 == 0xD800 {
        index += 2
        scalar = 0x10000 + (scalar - 0xD800) << 10 + (code() - 0xDC00)
      }
      result += Array(String(Character(Unicode.Scalar(scalar) ?? "\u{FFFD}")).utf8)
    default: result.append(escape)
    }
  }
  return result
}
