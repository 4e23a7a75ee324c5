import JSON
import System
import Tokenization

extension RowSchema {
  /// The rows of a file of JSON lines. See ``GLUETask/parseLines(_:path:requiresLabels:)``.
  func parseLines(_ bytes: [UInt8], path: String, requiresLabels: Bool) throws(Failure) -> SentencePairs {
    var pairs = SentencePairs(hasSecondSentence: hasSecondSentence)
    var names: Columns?
    try forEachJSONLine(bytes, path: path) { (row) throws(Failure) in
      let found = if let names { names } else { try columnNames(in: row) }
      names = found
      pairs.append(
        first: try sentence(found.first, in: row),
        second: try found.second.map { name throws(Failure) in try sentence(name, in: row) },
        label: try label(found.label, in: row, isRequired: requiresLabels))
    }
    return pairs
  }

  private func columnNames(in row: JSONNode) throws(Failure) -> Columns {
    var found: Columns?
    for names in alternatives where try row.rawMember(names.first) != nil {
      if try row.rawMember(names.label) != nil { return names }
      found = found ?? names
    }
    if let found { return found }
    throw row.missingKey(alternatives.map(\.first))
  }

  private func sentence(_ name: String, in row: JSONNode) throws(Failure) -> [UInt8] {
    guard let node = try row.rawMember(name) else { throw row.missingKey([name]) }
    let text = try node.utf8()
    guard hasBrokenRows || text.contains(where: { $0 > 0x20 }) else {
      throw node.failure("\"\(name)\" is blank, expected a sentence")
    }
    return text
  }

  private func label(_ name: String, in row: JSONNode, isRequired: Bool) throws(Failure) -> Label {
    guard let node = try row.rawMember(name), isRequired || !node.isNull else {
      if !isRequired { return .unknown }
      throw row.missingKey([name])
    }
    if case .classSets = labels, separator == nil {
      guard node.kind == .array else { throw node.unexpected("a list of classes") }
      return try set(of: try node.elements().map { (node) throws(Failure) in try node.labelText() }, at: node.place)
    }
    return try label(node.labelText(), at: node.place, isRequired: isRequired)
  }
}

/// Calls `body` with the object of each line. One blank line may end the file.
func forEachJSONLine(
  _ bytes: [UInt8], path: String, _ body: (JSONNode) throws(Failure) -> Void
) throws(Failure) {
  _ = try textStart(of: bytes, path: path, kind: "JSON lines")
  var (start, line) = (0, 0)
  while start < bytes.count {
    let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
    line += 1
    let text = bytes[start..<end]
    start = end + 1
    if text.allSatisfy({ $0 == 0x0D }) {
      if line > 1 && start >= bytes.count { break }
      throw Failure(.badData, at: "\(path):\(line):1", "is a blank line, expected a JSON object")
    }
    try body(JSONDocument(Array(text), path: path, firstLine: line, status: .badData).root)
  }
}

extension JSONNode {
  /// The text of a label: a string's, or a number as it is written.
  func labelText() throws(Failure) -> ArraySlice<UInt8> { kind == .string ? try utf8()[...] : source }

  func missingKey(_ names: [String]) -> Failure {
    failure("has no key \(names.map { "\"\($0)\"" }.joined(separator: " or "))")
  }
}
