import FileSystem
import JSON
import Tokenization

extension GLUETask {
  /// The rows of a file of JSON lines: an object a line, as `datasets` and SetFit write them. One blank line may end it.
  ///
  /// Keys are the names of a table's columns, the same ones in every line; others may be there. A label is a number, or
  /// its text. A test split's label, for which `requiresLabels` is false, may be missing, null or -1. JSON is read
  /// strictly. Throws `.badData` with file, line and column.
  public func parseLines(
    _ bytes: [UInt8], path: String, requiresLabels: Bool = true
  ) throws(Failure) -> SentencePairs {
    _ = try textStart(of: bytes, path: path, kind: "JSON lines")
    var pairs = SentencePairs(hasSecondSentence: secondColumn != nil)
    var names: ColumnNames?
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
      let row = try JSONDocument(Array(text), path: path, firstLine: line, status: .badData).root
      let found = if let names { names } else { try columnNames(in: row) }
      names = found
      pairs.append(
        first: try sentence(found.first, in: row),
        second: try found.second.map { name throws(Failure) in try sentence(name, in: row) },
        label: try label(found.label, in: row, isRequired: requiresLabels))
    }
    return pairs
  }

  private func columnNames(in row: JSONNode) throws(Failure) -> ColumnNames {
    for names in columnNames where try row.rawMember(names.first) != nil { return names }
    throw row.failure("has no key \(columnNames.map { "\"\($0.first)\"" }.joined(separator: " or "))")
  }

  private func sentence(_ name: String, in row: JSONNode) throws(Failure) -> [UInt8] {
    guard let node = try row.rawMember(name) else { throw row.failure("has no key \"\(name)\"") }
    let text = try node.utf8()
    guard text.contains(where: { $0 > 0x20 }) else { throw node.failure("\"\(name)\" is blank, expected a sentence") }
    return text
  }

  private func label(_ name: String, in row: JSONNode, isRequired: Bool) throws(Failure) -> Label {
    guard let node = try row.rawMember(name), isRequired || !node.isNull else {
      if !isRequired { return .unknown }
      throw row.failure("has no key \"\(name)\"")
    }
    let text = node.kind == .string ? try node.utf8()[...] : node.source
    return try label(text, at: node.place, isRequired: isRequired)
  }
}
