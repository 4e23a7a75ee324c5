import System
import Yams

/// The way from bytes to YAML nodes, and from nodes to places.
extension ConfigFile {
  static func compose(_ bytes: [UInt8], path: String) throws(Failure) -> Node {
    var bytes = bytes[...]
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
    if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
      throw Failure(.configuration, at: path, "is UTF-16, expected UTF-8")
    }
    if let offset = bytes.firstIndex(of: 0) {
      let line = bytes[..<offset].count { $0 == UInt8(ascii: "\n") } + 1
      throw Failure(.configuration, at: "\(path):\(line)", "has a NUL byte, expected text")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(.configuration, at: path, "is not UTF-8, expected text in UTF-8")
    }
    try refuseDepthAndAliases(bytes, path)
    try refuseInAnyContext(bytes, path)
    do {
      // Every value is text to the parser: the settings know their kinds. It would try expressions for all kinds of YAML on
      // each key, and look up a variable that may choose UTF-16.
      let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
      guard let root = try parser.singleRoot() else {
        throw Failure(.configuration, at: path, "is empty, expected keys with values", hint: "num_processes: 2")
      }
      if let failure = refusal(root, path, depth: 0) { throw failure }
      return root
    } catch let failure as Failure {
      throw failure
    } catch let error as YamlError {
      throw describe(error, path)
    } catch {
      throw Failure(.configuration, at: path, "cannot be read as YAML: \(error)")
    }
  }

  /// Refuses, before the parser sees them, brackets nested too deep, for it recurses, and anchors and aliases, for a
  /// file of 300 bytes can stand for gigabytes, and the parser walks through all of it to compare keys.
  private static func refuseDepthAndAliases(_ bytes: ArraySlice<UInt8>, _ path: String) throws(Failure) {
    var depth = 0
    var line = 1
    var lineStart = bytes.startIndex
    var quote: UInt8?
    /// Whether a value can start here; within a plain text `&`, `*` and quotes mean nothing.
    var isStart = true
    var index = bytes.startIndex
    func refuse(_ message: String) -> Failure {
      Failure(.configuration, at: "\(path):\(line):\(index - lineStart + 1)", message)
    }
    while index < bytes.endIndex {
      let byte = bytes[index]
      let next = index + 1 < bytes.endIndex ? bytes[index + 1] : UInt8(ascii: "\n")
      let isBeforeSpace = next == 0x20 || next == 0x09 || next == 0x0A || next == 0x0D
      if let open = quote {
        if byte == UInt8(ascii: "\\"), open == UInt8(ascii: "\"") { index += 1 }
        if byte == open {
          // Two single quotes are one that belongs to the text.
          if open == UInt8(ascii: "'"), next == open { index += 1 } else { quote = nil }
        }
        isStart = false
      } else {
        switch byte {
        case UInt8(ascii: "'") where isStart, UInt8(ascii: "\"") where isStart: quote = byte
        case UInt8(ascii: "&") where isStart && !isBeforeSpace: throw refuse("has an anchor, expected plain values")
        case UInt8(ascii: "*") where isStart && !isBeforeSpace: throw refuse("has an alias, expected plain values")
        case UInt8(ascii: "!") where isStart: throw refuse("has a tag, expected plain values")
        case UInt8(ascii: "["), UInt8(ascii: "{"):
          depth += 1
          isStart = true
        case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
        case UInt8(ascii: ","), UInt8(ascii: "\n"): isStart = true
        case UInt8(ascii: ":") where isBeforeSpace, UInt8(ascii: "?") where isBeforeSpace,
          UInt8(ascii: "-") where isBeforeSpace:
          isStart = true
        case UInt8(ascii: "#") where index == lineStart || bytes[index - 1] == 0x20 || bytes[index - 1] == 0x09:
          index = (bytes[index...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.endIndex) - 1
        case 0x20, 0x09, 0x0D: break
        default: isStart = false
        }
      }
      if depth > 100 { throw refuse("is nested more than 100 deep") }
      // An escape may be the last byte of all.
      if index < bytes.endIndex, bytes[index] == UInt8(ascii: "\n") {
        line += 1
        lineStart = index + 1
      }
      index += 1
    }
  }

  /// Refuses what could be an alias or deep nesting however the text is read: the look above follows quotes and comments
  /// but not every rule of YAML, and what it takes for quoted the parser may not.
  private static func refuseInAnyContext(_ bytes: ArraySlice<UInt8>, _ path: String) throws(Failure) {
    func refuse(_ index: Int, _ message: String) -> Failure {
      let before = bytes[..<index]
      let lineStart = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? bytes.startIndex
      let line = before.count { $0 == UInt8(ascii: "\n") } + 1
      return Failure(.configuration, at: "\(path):\(line):\(index - lineStart + 1)", message)
    }
    // An alias means something only where an anchor has its name.
    var anchors: Set<[UInt8]> = []
    var aliases: [(name: [UInt8], index: Int)] = []
    var brackets = 0
    for (index, byte) in zip(bytes.indices, bytes) {
      switch byte {
      case UInt8(ascii: "&"), UInt8(ascii: "*"):
        let name = Array(bytes[(index + 1)...].prefix { isInAnchor($0) })
        if name.isEmpty { continue }
        if byte == UInt8(ascii: "&") { anchors.insert(name) } else { aliases.append((name, index)) }
      case UInt8(ascii: "["), UInt8(ascii: "{"):
        brackets += 1
        if brackets > 1000 { throw refuse(index, "has more than 1000 brackets, expected plain values") }
      default: break
      }
    }
    if let alias = aliases.first(where: { anchors.contains($0.name) }) {
      throw refuse(
        alias.index,
        "has what may be an alias, *\(String(decoding: alias.name, as: UTF8.self).shortened), expected plain values")
    }
  }

  private static func isInAnchor(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"): true
    default: false
    }
  }

  /// What the parser lets pass and a configuration has no use for.
  private static func refusal(_ node: Node, _ path: String, depth: Int) -> Failure? {
    if depth > 100 { return refuse(path, node, "is nested more than 100 deep") }
    let anchor: Anchor?
    let children: [Node]
    switch node {
    case .scalar(let scalar): (anchor, children) = (scalar.anchor, [])
    case .mapping(let mapping): (anchor, children) = (mapping.anchor, mapping.flatMap { [$0.key, $0.value] })
    case .sequence(let sequence): (anchor, children) = (sequence.anchor, Array(sequence))
    case .alias: return refuse(path, node, "has an alias, expected plain values")
    }
    if let anchor { return refuse(path, node, "has the anchor &\(anchor.rawValue.shortened), expected plain values") }
    for child in children {
      if let failure = refusal(child, path, depth: depth + 1) { return failure }
    }
    if let mapping = node.mapping, let merge = mapping.first(where: { $0.key.scalar?.string == "<<" }) {
      return refuse(path, merge.key, "has a merge key <<, expected plain keys")
    }
    return nil
  }

  private static func describe(_ error: YamlError, _ path: String) -> Failure {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      return Failure(.configuration, at: "\(path):\(mark.line):\(mark.column)", "is not YAML: \(problem)")
    case .duplicatedKeysInMapping(let duplicates, let context):
      let keys = duplicates.prefix(4).map { "\"\("\($0)".shortened)\"" }.joined(separator: ", ")
      let mark = context.mark
      return Failure(.configuration, at: "\(path):\(mark.line):\(mark.column)", "has a key twice: \(keys)")
    case .reader(let problem, _, _, _):
      return Failure(.configuration, at: path, "is not YAML: \(problem)")
    default:
      let text = "\(error)".split(separator: "\n").joined(separator: " ")
      return Failure(.configuration, at: path, "is not YAML: \(text)")
    }
  }

  static func plainKey(_ node: Node, _ path: String) throws(Failure) -> String {
    guard let scalar = node.scalar else { throw refuse(path, node, "has \(kind(node)) as a key, expected a name") }
    return scalar.string
  }

  static func line(_ node: Node) -> Int { node.mark?.line ?? 1 }

  static func place(_ path: String, _ node: Node) -> String {
    node.mark.map { "\(path):\($0.line):\($0.column)" } ?? path
  }

  static func refuse(_ path: String, _ node: Node, _ message: String, hint: String? = nil) -> Failure {
    Failure(.configuration, at: place(path, node), message, hint: hint)
  }

  static func kind(_ node: Node) -> String {
    switch node {
    case .scalar: isNull(node) ? "empty" : "a single value"
    case .mapping: "a mapping"
    case .sequence: "a list"
    case .alias: "an alias"
    }
  }

  static func isNull(_ node: Node) -> Bool {
    guard let scalar = node.scalar, scalar.style == .plain else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
  }

  /// Whether YAML 1.1 takes `text`, unquoted, for something else than text.
  static func isBooleanOrNumber(_ text: String) -> Bool {
    ["yes", "no", "on", "off", "true", "false", "y", "n"].contains(text.lowercased())
      || (!text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2E || $0 == 0x5F })
  }
}
