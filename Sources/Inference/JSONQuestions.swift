import JSON
import System

/// Reads JSON lines: an object a line, whose other keys the answer repeats as they are written. JSON is read strictly.
public struct JSONQuestions: QuestionReader {
  private let columns: TextColumns
  private let path: String

  /// - Parameter path: what messages call the input.
  public init(_ columns: TextColumns = TextColumns(), path: String) {
    self.columns = columns
    self.path = path
  }

  public func question(_ line: LineSplitter.Line) throws(Failure) -> Question? {
    if let problem = problem(of: line) { return Question(problem: problem) }
    do throws(Failure) {
      return try read(JSONDocument(line.bytes, path: path, firstLine: line.number, status: .badData).root)
    } catch {
      return Question(problem: "\(error)")
    }
  }

  private func read(_ row: JSONNode) throws(Failure) -> Question {
    guard row.kind == .object else { throw row.unexpected("an object") }
    var result = Question()
    for (key, value) in try row.members() where !TextColumns.answers.contains(where: { key.elementsEqual($0.utf8) }) {
      if !result.members.isEmpty { result.members.append(UInt8(ascii: ",")) }
      JSONText.append(quoted: key, to: &result.members)
      result.members.append(UInt8(ascii: ":"))
      result.members += value.source
    }
    // What is wrong with the texts is said beside the row's keys.
    do throws(Failure) {
      guard let text = try member(columns.text, of: row) else { throw row.failure("has no key \(columns.expected)") }
      result.text = try sentence(text)
      // transformers takes an empty second text for none.
      if let pair = try member(columns.textPair, of: row), try !pair.utf8().isEmpty {
        result.textPair = try sentence(pair)
      }
    } catch {
      result.problem = "\(error)"
    }
    return result
  }

  private func member(_ names: [String], of row: JSONNode) throws(Failure) -> JSONNode? {
    for name in names { if let found = try row.member(name) { return found } }
    return nil
  }

  private func sentence(_ node: JSONNode) throws(Failure) -> [UInt8] {
    let text = try node.utf8()
    guard text.contains(where: { $0 > 0x20 }) else { throw node.failure("\"\(node.name)\" is blank, expected a text") }
    return text
  }
}
