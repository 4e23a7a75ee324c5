import System

/// JSON to be written. Parts that were read stay as they were written, number for number.
public enum JSONText: Sendable {
  case null
  case bool(Bool)
  case int(Int)
  /// A finite number; always with a point or an exponent, for Python reads `1` as an int.
  case double(Double)
  case string(String)
  case array([JSONText])
  /// Members in the order given.
  case object([(key: String, value: JSONText)])
  /// A value as it was read.
  case node(JSONNode)

  /// Indented by two blanks a level, as Python's `json.dumps(…, indent=2)` does, with a newline at the end.
  public var bytes: [UInt8] {
    var result: [UInt8] = []
    append(to: &result, indent: 0)
    result.append(UInt8(ascii: "\n"))
    return result
  }

  private func append(to result: inout [UInt8], indent: Int) {
    switch self {
    case .null: result += "null".utf8
    case .bool(let value): result += (value ? "true" : "false").utf8
    case .int(let value): result += "\(value)".utf8
    case .double(let value):
      precondition(value.isFinite, "JSON has no \(value)")
      result += "\(value)".utf8
    case .string(let value): Self.append(quoted: value.utf8, to: &result)
    case .array(let elements):
      Self.append(elements, "[", "]", to: &result, indent: indent) { $1.append(to: &$0, indent: indent + 1) }
    case .object(let members):
      Self.append(members, "{", "}", to: &result, indent: indent) {
        Self.append(quoted: $1.key.utf8, to: &$0)
        $0 += ": ".utf8
        $1.value.append(to: &$0, indent: indent + 1)
      }
    case .node(let node): Self.append(node, to: &result, indent: indent)
    }
  }

  /// A value that was read, in this indentation.
  private static func append(_ node: JSONNode, to result: inout [UInt8], indent: Int) {
    switch node.kind {
    case .array:
      let elements = (try? node.elements()) ?? []
      append(elements, "[", "]", to: &result, indent: indent) { append($1, to: &$0, indent: indent + 1) }
    case .object:
      let members = (try? node.members()) ?? []
      append(members, "{", "}", to: &result, indent: indent) {
        append(quoted: $1.key, to: &$0)
        $0 += ": ".utf8
        append($1.value, to: &$0, indent: indent + 1)
      }
    default: result += node.source
    }
  }

  private static func append<Part>(
    _ parts: [Part], _ start: String, _ end: String, to result: inout [UInt8], indent: Int,
    _ appendPart: (inout [UInt8], Part) -> Void
  ) {
    func newLine(_ level: Int, _ result: inout [UInt8]) {
      result.append(0x0A)
      for _ in 0..<2 * level { result.append(0x20) }
    }
    result += start.utf8
    for (index, part) in parts.enumerated() {
      if index > 0 { result.append(UInt8(ascii: ",")) }
      newLine(indent + 1, &result)
      appendPart(&result, part)
    }
    if !parts.isEmpty { newLine(indent, &result) }
    result += end.utf8
  }

  /// `text` in quotation marks; control characters escaped, UTF-8 as it is.
  public static func append(quoted text: some Sequence<UInt8>, to result: inout [UInt8]) {
    result.append(UInt8(ascii: "\""))
    for byte in text {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): result += [UInt8(ascii: "\\"), byte]
      case ..<0x20, 0x7F:
        let digits = String(byte, radix: 16)
        result += "\\u00\(digits.count == 1 ? "0" : "")\(digits)".utf8
      default: result.append(byte)
      }
    }
    result.append(UInt8(ascii: "\""))
  }
}
