import Collectives
import System

/// A file with the rows that each step has used, to see which a run has seen: a line for each rank, as
/// `STEP<tab>EPOCH<tab>RANK<tab>ROW ROW …`. Epochs count from 1, rows from 0 in the order of the file.
struct DebugRows {
  static let option = "--debug-rows"
  private static let header = "step\tepoch\trank\trows\n"
  private let lines: StepLines

  /// Refuses a path where something else is.
  static func check(
    _ path: String, notIn folders: [(option: String, path: String?)], notAs others: [(option: String, path: String?)]
  ) throws(Failure) {
    try ReportFile.check(path, option: option, notIn: folders, notAs: others, allowsNull: true) { path in
      (try? readStart(path, limitBytes: header.utf8.count))?.elementsEqual(header.utf8) ?? false
    }
  }

  /// Finds what stays of the file where a run goes on after `step`; see ``StepLines``.
  static func place(in path: String, continuingAfter step: Int) throws(Failure) -> StepLines.Place {
    try StepLines.place(in: path, header: header, continuingAfter: step)
  }

  /// Opens the file, which `check` has let pass.
  init(_ path: String, at place: StepLines.Place) throws(Failure) {
    lines = try StepLines(path, option: Self.option, header: Self.header, at: place)
  }

  /// The rows of each rank, as text. Called by all ranks.
  static func gather(_ rows: [Int], _ communicator: any Communicator) throws(Failure) -> [[UInt8]] {
    try communicator.allGather(Array(rows.map(String.init).joined(separator: " ").utf8))
  }

  func write(step: Int, epoch: Int, _ rows: [[UInt8]]) throws(Failure) {
    var text: [UInt8] = []
    for (rank, rows) in rows.enumerated() { text += Array("\(step)\t\(epoch)\t\(rank)\t".utf8) + rows + [0x0A] }
    try lines.write(text)
  }

  func flush() throws(Failure) { try lines.flush() }
}
