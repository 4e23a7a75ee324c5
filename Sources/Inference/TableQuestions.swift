import JSON
import System
import Tokenization

/// Reads tab-separated columns. Where the first line names a column of texts it is a header, and the answer repeats all
/// columns under their names; else the columns are a text and, where there are two, a second text. Quotes are text.
public struct TableQuestions: QuestionReader {
  private let columns: TextColumns
  private let path: String
  /// Whether a first line without the columns' names is an error.
  private let needsHeader: Bool
  private var header: Header?

  /// The columns' names, and which of them hold the texts.
  struct Header: Sendable, Equatable {
    var names: [[UInt8]]
    var text: Int
    var textPair: Int?
  }

  /// - Parameters:
  ///   - path: what messages call the input.
  ///   - needsHeader: whether the input has a header in any case.
  public init(_ columns: TextColumns = TextColumns(), path: String, needsHeader: Bool = false) {
    self.columns = columns
    self.path = path
    self.needsHeader = needsHeader
  }

  public mutating func question(_ line: LineSplitter.Line) throws(Failure) -> Question? {
    if let problem = problem(of: line) { return Question(problem: problem) }
    if let bad = line.bytes.withUnsafeBufferPointer(firstInvalidUTF8) {
      return Question(problem: "\(path):\(line.number):\(bad + 1): a byte is not UTF-8")
    }
    let fields = line.bytes.split(separator: 0x09, omittingEmptySubsequences: false).map { Array($0) }
    if let header { return question(fields, header, line.number) }
    if let found = try self.header(fields) {
      header = found
      return nil
    }
    guard !needsHeader, fields.count <= 2 else {
      let names = fields.prefix(6).map { "\"\(String(decoding: $0, as: UTF8.self))\"" }.joined(separator: ", ")
      throw Failure(
        .badData, at: "\(path):\(line.number):1", "header has no column \(columns.expected), found \(names)",
        hint: "name the columns of the texts", cause: .unknownColumns)
    }
    let plain = Header(
      names: ["text", "text_pair"].prefix(fields.count).map { Array($0.utf8) }, text: 0,
      textPair: fields.count > 1 ? 1 : nil)
    header = plain
    return question(fields, plain, line.number)
  }

  private func header(_ fields: [[UInt8]]) throws(Failure) -> Header? {
    try Self.header(fields, columns, path: path)
  }

  /// The header that `names` are; nil where none of them is a column of texts.
  static func header(_ names: [[UInt8]], _ columns: TextColumns, path: String) throws(Failure) -> Header? {
    func find(_ wanted: [String]) -> Int? {
      wanted.lazy.compactMap { name in names.firstIndex { $0.elementsEqual(name.utf8) } }.first
    }
    guard let text = find(columns.text) else { return nil }
    var seen: Set<[UInt8]> = []
    for name in names where !seen.insert(name).inserted {
      throw Failure(.badData, at: "\(path):1:1", "column \"\(String(decoding: name, as: UTF8.self))\" is there twice")
    }
    return Header(names: names, text: text, textPair: find(columns.textPair))
  }

  private func question(_ fields: [[UInt8]], _ header: Header, _ line: Int) -> Question {
    Self.question(fields, header, place: "\(path):\(line):1")
  }

  static func question(_ fields: [[UInt8]], _ header: Header, place: String) -> Question {
    var result = Question()
    guard fields.count == header.names.count else {
      result.problem =
        "\(place): has \(fields.count) column\(fields.count == 1 ? "" : "s"), expected \(header.names.count)"
      return result
    }
    for (name, field) in zip(header.names, fields)
    where !TextColumns.answers.contains(where: { name.elementsEqual($0.utf8) }) {
      if !result.members.isEmpty { result.members.append(UInt8(ascii: ",")) }
      JSONText.append(quoted: name, to: &result.members)
      result.members.append(UInt8(ascii: ":"))
      JSONText.append(quoted: field, to: &result.members)
    }
    result.text = fields[header.text]
    if let pair = header.textPair, !fields[pair].isEmpty { result.textPair = fields[pair] }
    if !result.text.contains(where: { $0 > 0x20 }) {
      result.problem =
        "\(place): \"\(String(decoding: header.names[header.text], as: UTF8.self))\" is blank, expected a text"
    }
    return result
  }
}
