import System

/// The way from bytes to YAML nodes, and what nodes are.
extension ConfigFile {
  static func compose(_ bytes: [UInt8], path: String) throws(Failure) -> YAMLNode {
    var bytes = bytes[...]
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
    if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
      throw Failure(.configuration, at: path, "is UTF-16, expected UTF-8")
    }
    if let offset = bytes.firstIndex(of: 0) {
      let line = bytes[..<offset].count { $0 == UInt8(ascii: "\n") } + 1
      throw Failure(.configuration, at: "\(path):\(line)", "has a NUL byte, expected text")
    }
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw Failure(.configuration, at: path, "is not UTF-8, expected text in UTF-8")
    }
    guard
      let root = try bytes.withUnsafeBufferPointer({ (text) throws(Failure) in try YAMLReader.read(text, path: path) })
    else { throw Failure(.configuration, at: path, "is empty, expected keys with values", hint: "num_processes: 2") }
    return root
  }

  static func plainKey(_ node: YAMLNode, _ path: String) throws(Failure) -> String {
    guard let scalar = node.scalar else { throw refuse(path, node, "has \(kind(node)) as a key, expected a name") }
    return scalar
  }

  static func place(_ path: String, _ node: YAMLNode) -> String { "\(path):\(node.line):\(node.column)" }

  static func refuse(_ path: String, _ node: YAMLNode, _ message: String, hint: String? = nil) -> Failure {
    Failure(.configuration, at: place(path, node), message, hint: hint)
  }

  static func kind(_ node: YAMLNode) -> String {
    switch node.content {
    case .scalar: isNull(node) ? "empty" : "a single value"
    case .mapping: "a mapping"
    case .sequence: "a list"
    }
  }

  static func isNull(_ node: YAMLNode) -> Bool {
    node.isPlain && ["", "~", "null", "Null", "NULL"].contains(node.scalar)
  }

  /// Whether YAML 1.1 takes `text`, unquoted, for something else than text.
  static func isBooleanOrNumber(_ text: String) -> Bool {
    ["yes", "no", "on", "off", "true", "false", "y", "n"].contains(text.lowercased())
      || (!text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2E || $0 == 0x5F })
  }
}
