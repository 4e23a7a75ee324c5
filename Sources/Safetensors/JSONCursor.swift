/// Why a header is not what it should be: the byte and what was expected there.
struct JSONError: Error {
  var offset: Int
  var message: String
}

/// Reads JSON byte by byte, for the small grammar that this module knows.
///
/// General readers are too kind for files from outside: they take `1e2` for an integer, keep one of two equal keys, and
/// compare keys after Unicode normalisation. Here a number is digits, a key is bytes, and nothing recurses.
struct JSONCursor {
  let bytes: UnsafeBufferPointer<UInt8>
  var position = 0
  static let limitKeyBytes = 10_000

  /// The next byte after blanks; nil at the end.
  mutating func peek() -> UInt8? {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x09, 0x0a, 0x0d: position += 1
      default: return bytes[position]
      }
    }
    return nil
  }

  func error(_ message: String) -> JSONError { JSONError(offset: position, message: message) }

  /// Blanks, then `byte`.
  mutating func expect(_ byte: UInt8, _ what: @autoclosure () -> String) throws(JSONError) {
    guard peek() == byte else { throw unexpected("expected \(what())") }
    position += 1
  }

  /// Tells what stands at the position.
  mutating func unexpected(_ expectation: String) -> JSONError {
    guard let byte = peek() else { return error("ends, \(expectation)") }
    let isVisible = (0x21..<0x7f).contains(byte)
    let shown = isVisible ? "\"\(Character(UnicodeScalar(byte)))\"" : "byte 0x\(String(byte, radix: 16))"
    return error("\(shown), \(expectation)")
  }

  /// Blanks, then the end.
  mutating func expectEnd() throws(JSONError) {
    guard peek() == nil else { throw unexpected("expected the end") }
  }

  /// `{ "key": value, … }`: calls `member` with each key, positioned at its value.
  mutating func object(
    _ what: String, _ member: (inout JSONCursor, [UInt8]) throws(JSONError) -> Void
  ) throws(JSONError) {
    try expect(UInt8(ascii: "{"), "{ of \(what)")
    if peek() == UInt8(ascii: "}") {
      position += 1
      return
    }
    while true {
      let key = try string("a key of \(what)")
      // Keys are hashed and shown.
      guard key.count <= Self.limitKeyBytes else {
        throw error("a key of \(what) has \(key.count) bytes, expected at most \(Self.limitKeyBytes)")
      }
      try expect(UInt8(ascii: ":"), ": after a key of \(what)")
      try member(&self, key)
      switch peek() {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "}"):
        position += 1
        return
      default: throw unexpected("expected , or } in \(what)")
      }
    }
  }

  /// `[1, 2, …]` of at most `limit` whole numbers.
  mutating func wholeNumbers(_ what: String, limit: Int) throws(JSONError) -> [Int] {
    try expect(UInt8(ascii: "["), "[ of \(what)")
    var numbers: [Int] = []
    if peek() == UInt8(ascii: "]") {
      position += 1
      return numbers
    }
    while true {
      guard numbers.count < limit else { throw error("\(what) has more than \(limit) numbers") }
      numbers.append(try wholeNumber(what))
      switch peek() {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "]"):
        position += 1
        return numbers
      default: throw unexpected("expected , or ] in \(what)")
      }
    }
  }

  /// Digits without sign, point, exponent or leading zero, at most 2⁵³: beyond, other readers round.
  mutating func wholeNumber(_ what: String) throws(JSONError) -> Int {
    guard let first = peek(), isDigit(first) else { throw unexpected("expected a whole number in \(what)") }
    let start = position
    var value = 0
    while position < bytes.count, isDigit(bytes[position]) {
      value = value * 10 + Int(bytes[position] - UInt8(ascii: "0"))
      guard value <= 1 << 53 else { throw error("a number in \(what) is more than 2^53") }
      position += 1
    }
    guard first != UInt8(ascii: "0") || position == start + 1 else { throw error("leading zero in \(what)") }
    if position < bytes.count, [UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(bytes[position]) {
      throw unexpected("expected a whole number in \(what)")
    }
    return value
  }

  /// Passes over `null` where it is the next value.
  mutating func null() throws(JSONError) -> Bool {
    guard peek() == UInt8(ascii: "n") else { return false }
    guard bytes[position...].starts(with: "null".utf8) else { throw unexpected("expected null or {") }
    position += 4
    return true
  }

  private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
}
