import Collectives
import System

/// A file with the rows that each step has used, to see which a run has seen: a line for each rank, as
/// `STEP<tab>EPOCH<tab>RANK<tab>ROW ROW …`. Epochs count from 1, rows from 0 in the order of the file.
struct DebugRows {
  static let option = "--debug-rows"
  private static let header = "step\tepoch\trank\trows\n"
  private let descriptor: Int32
  private let path: String

  /// Refuses a path where something else is.
  static func check(
    _ path: String, notIn folders: [(option: String, path: String?)], notAs others: [(option: String, path: String?)]
  ) throws(Failure) {
    try ReportFile.check(path, option: option, notIn: folders, notAs: others, allowsNull: true) { path in
      (try? readStart(path, limitBytes: header.utf8.count))?.elementsEqual(header.utf8) ?? false
    }
  }

  /// Begins the file, which `check` has let pass.
  init(_ path: String) throws(Failure) {
    self.path = path
    descriptor = try ReportFile.open(path, option: Self.option)
    try writeAll(Array(Self.header.utf8), to: descriptor, at: path)
  }

  /// The rows of each rank, as text. Called by all ranks.
  static func gather(_ rows: [Int], _ communicator: any Communicator) throws(Failure) -> [[UInt8]] {
    try communicator.allGather(Array(rows.map(String.init).joined(separator: " ").utf8))
  }

  func write(step: Int, epoch: Int, _ rows: [[UInt8]]) throws(Failure) {
    var text: [UInt8] = []
    for (rank, rows) in rows.enumerated() { text += Array("\(step)\t\(epoch)\t\(rank)\t".utf8) + rows + [0x0A] }
    try writeAll(text, to: descriptor, at: path)
  }
}
