import CYAML
import System

/// A value of a YAML document, with its place. Scalars are text: what they mean, the settings know.
struct YAMLNode {
  enum Content {
    case scalar(String)
    case sequence([YAMLNode])
    case mapping([(key: YAMLNode, value: YAMLNode)])
  }

  var content: Content
  /// Whether it is a scalar without quotes, which may stand for null, a number or a truth value.
  var isPlain: Bool
  /// From 1.
  var line: Int
  /// In characters, from 1.
  var column: Int

  var scalar: String? { if case .scalar(let text) = content { text } else { nil } }
  var sequence: [YAMLNode]? { if case .sequence(let items) = content { items } else { nil } }
  var mapping: [(key: YAMLNode, value: YAMLNode)]? { if case .mapping(let pairs) = content { pairs } else { nil } }
}

/// Reads the one document of a YAML text, event by event. Anchors, aliases and tags are refused where they are met, so
/// that 300 bytes cannot stand for gigabytes; and so is what is nested too deep, for this recurses.
struct YAMLReader: ~Copyable {
  private let path: String
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private var event = yaml_event_t()
  private static let mostDepth = 100

  /// - Parameter text: in UTF-8.
  static func read(_ text: UnsafeBufferPointer<UInt8>, path: String) throws(Failure) -> YAMLNode? {
    var reader = try YAMLReader(text, path: path)
    return try reader.document()
  }

  private init(_ text: UnsafeBufferPointer<UInt8>, path: String) throws(Failure) {
    self.path = path
    parser = .allocate(capacity: 1)
    guard yaml_parser_initialize(parser) == 1 else {
      parser.deallocate()
      throw Failure(.unavailable, at: path, "no memory to read it")
    }
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    yaml_parser_set_input_string(parser, text.baseAddress, text.count)
  }

  deinit {
    var event = event
    yaml_event_delete(&event)
    yaml_parser_delete(parser)
    parser.deallocate()
  }

  /// Nil where there is none.
  private mutating func document() throws(Failure) -> YAMLNode? {
    try advance()  // To the stream's start.
    try advance()
    guard event.type == YAML_DOCUMENT_START_EVENT else { return nil }
    try advance()
    let root = try node(depth: 0)
    try advance()  // To the document's end.
    try advance()
    guard event.type == YAML_STREAM_END_EVENT else { throw refuse("has a second document, expected one") }
    return root
  }

  private mutating func advance() throws(Failure) {
    yaml_event_delete(&event)
    guard yaml_parser_parse(parser, &event) == 1 else {
      let problem = parser.pointee.problem.map { String(cString: $0) } ?? "cannot be read"
      switch parser.pointee.error {
      case YAML_MEMORY_ERROR: throw Failure(.unavailable, at: path, "no memory to read it")
      case YAML_READER_ERROR: throw Failure(.configuration, at: path, "is not YAML: \(problem)")
      default:
        let mark = parser.pointee.problem_mark
        throw Failure(.configuration, at: "\(path):\(mark.line + 1):\(mark.column + 1)", "is not YAML: \(problem)")
      }
    }
  }

  /// The node that the present event begins; then the event is its last.
  private mutating func node(depth: Int) throws(Failure) -> YAMLNode {
    guard depth <= Self.mostDepth else { throw refuse("is nested more than \(Self.mostDepth) deep") }
    let mark = event.start_mark
    var node = YAMLNode(content: .scalar(""), isPlain: false, line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    switch event.type {
    case YAML_SCALAR_EVENT:
      let scalar = event.data.scalar
      try refuseProperties(anchor: scalar.anchor, tag: scalar.tag)
      node.content = .scalar(
        String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self))
      node.isPlain = scalar.style == YAML_PLAIN_SCALAR_STYLE
    case YAML_SEQUENCE_START_EVENT:
      try refuseProperties(anchor: event.data.sequence_start.anchor, tag: event.data.sequence_start.tag)
      var items: [YAMLNode] = []
      try advance()
      while event.type != YAML_SEQUENCE_END_EVENT {
        items.append(try self.node(depth: depth + 1))
        try advance()
      }
      node.content = .sequence(items)
    case YAML_MAPPING_START_EVENT:
      try refuseProperties(anchor: event.data.mapping_start.anchor, tag: event.data.mapping_start.tag)
      node.content = .mapping(try pairs(depth: depth))
    case YAML_ALIAS_EVENT: throw refuse("has an alias, expected plain values")
    default: throw refuse("is not YAML")
    }
    return node
  }

  private mutating func pairs(depth: Int) throws(Failure) -> [(key: YAMLNode, value: YAMLNode)] {
    var pairs: [(key: YAMLNode, value: YAMLNode)] = []
    var names: Set<String> = []
    try advance()
    while event.type != YAML_MAPPING_END_EVENT {
      let key = try node(depth: depth + 1)
      if let name = key.scalar {
        let place = "\(path):\(key.line):\(key.column)"
        if name == "<<" { throw Failure(.configuration, at: place, "has a merge key <<, expected plain keys") }
        guard names.insert(name).inserted else {
          throw Failure(.configuration, at: place, "has a key twice: \"\(name.shortened)\"")
        }
      }
      try advance()
      pairs.append((key, try node(depth: depth + 1)))
      try advance()
    }
    return pairs
  }

  private func refuseProperties(
    anchor: UnsafeMutablePointer<yaml_char_t>?, tag: UnsafeMutablePointer<yaml_char_t>?
  ) throws(Failure) {
    if anchor != nil { throw refuse("has an anchor, expected plain values") }
    if tag != nil { throw refuse("has a tag, expected plain values") }
  }

  private func refuse(_ message: String) -> Failure {
    let mark = event.start_mark
    return Failure(.configuration, at: "\(path):\(mark.line + 1):\(mark.column + 1)", message)
  }
}
