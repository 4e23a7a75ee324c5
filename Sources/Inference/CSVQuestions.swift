import Datasets
import System

/// The questions of a table of comma-separated values with a header. See ``TableQuestions``.
public func csvQuestions(_ bytes: [UInt8], path: String, _ columns: TextColumns) throws(Failure) -> [Question] {
  var header: TableQuestions.Header?
  var questions: [Question] = []
  try forEachCSVRecord(bytes, path: path) { (fields, place) throws(Failure) in
    if let header {
      questions.append(TableQuestions.question(fields, header, place: place))
    } else if let found = try TableQuestions.header(fields, columns, path: path) {
      header = found
    } else {
      let names = fields.prefix(6).map { "\"\(String(decoding: $0, as: UTF8.self))\"" }.joined(separator: ", ")
      throw Failure(.badData, at: place, "header has no column \(columns.expected), found \(names)")
    }
  }
  return questions
}
