extension JSONCursor {
  /// A string's bytes, unescaped and valid UTF-8.
  mutating func string(_ what: String) throws(JSONError) -> [UInt8] {
    try expect(UInt8(ascii: "\""), "\" of \(what)")
    let start = position
    while position < bytes.count, bytes[position] >= 0x20, bytes[position] != UInt8(ascii: "\\") {
      guard bytes[position] != UInt8(ascii: "\"") else {
        let result = Array(bytes[start..<position])
        try checkUTF8(result, what, at: start)
        position += 1
        return result
      }
      position += 1
    }
    var result = Array(bytes[start..<position])
    while position < bytes.count {
      let byte = bytes[position]
      guard byte >= 0x20 else { throw error("control character in \(what)") }
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        try checkUTF8(result, what, at: start)
        return result
      case UInt8(ascii: "\\"): try appendEscaped(to: &result, what)
      default: result.append(byte)
      }
    }
    throw error("ends in \(what)")
  }

  /// A string as text.
  mutating func text(_ what: String) throws(JSONError) -> String { String(decoding: try string(what), as: UTF8.self) }

  private func checkUTF8(_ text: [UInt8], _ what: String, at start: Int) throws(JSONError) {
    guard text.contains(where: { $0 >= 0x80 }) else { return }
    guard String(validating: text, as: UTF8.self) != nil else {
      throw JSONError(offset: start, message: "\(what) is not UTF-8")
    }
  }

  /// What follows a backslash.
  private mutating func appendEscaped(to result: inout [UInt8], _ what: String) throws(JSONError) {
    guard position < bytes.count else { throw error("ends in \(what)") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(byte)
    case UInt8(ascii: "b"): result.append(0x08)
    case UInt8(ascii: "f"): result.append(0x0c)
    case UInt8(ascii: "n"): result.append(0x0a)
    case UInt8(ascii: "r"): result.append(0x0d)
    case UInt8(ascii: "t"): result.append(0x09)
    case UInt8(ascii: "u"):
      var code = try fourHexDigits(what)
      if (0xd800..<0xdc00).contains(code) {
        guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
          bytes[position + 1] == UInt8(ascii: "u")
        else { throw error("half a surrogate pair in \(what)") }
        position += 2
        let low = try fourHexDigits(what)
        guard (0xdc00..<0xe000).contains(low) else { throw error("half a surrogate pair in \(what)") }
        code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw error("half a surrogate pair in \(what)") }
      result.append(contentsOf: UTF8.encode(scalar)!)
    default:
      position -= 1
      throw unexpected("expected an escape in \(what)")
    }
  }

  private mutating func fourHexDigits(_ what: String) throws(JSONError) -> UInt32 {
    guard position + 4 <= bytes.count else { throw error("ends in \(what)") }
    var code: UInt32 = 0
    for _ in 0..<4 {
      let byte = bytes[position]
      guard let digit = Character(UnicodeScalar(byte)).hexDigitValue, byte < 0x80 else {
        throw unexpected("expected a hexadecimal digit in \(what)")
      }
      code = code << 4 | UInt32(digit)
      position += 1
    }
    return code
  }
}
