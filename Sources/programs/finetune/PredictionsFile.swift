import Datasets
import Glibc
import System
import Training

/// What a model says about test rows: a table with the row's number, from 0, and the class's name or the score, as GLUE
/// wants submissions. Sets of classes have commas between them.
enum PredictionsFile {
  private static let header = "index\tprediction\n"

  /// Refuses a path where something else is than an earlier file of this kind.
  static func check(
    _ path: String, notIn folders: [(option: String, path: String?)], notAs others: [(option: String, path: String?)]
  ) throws(Failure) {
    try ReportFile.check(path, option: "--predictions", notIn: folders, notAs: others) { path in
      (try? readStart(path, limitBytes: header.utf8.count)).map { $0.elementsEqual(header.utf8) } ?? false
    }
  }

  static func write(_ rows: EvaluatedRows, _ labels: TaskLabels, to path: String) throws(Failure) {
    var text = header
    for row in 0..<rows.count {
      let prediction: String =
        switch labels {
        case .classes(let names): names[rows.predictedClass(row)]
        case .classSets(let names): rows.predictedClasses(row).map { names[$0] }.joined(separator: ",")
        case .scores: "\(rows.score(row))"
        }
      text += "\(row)\t\(prediction.escapingControlCharacters)\n"
    }
    try writeAtomically(Array(text.utf8), to: path)
  }
}
