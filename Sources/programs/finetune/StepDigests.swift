import Reporting
import System
import Training

/// A file with what every step came to: a line each for the loss, the gradient's norm and the weights of each tensor, as
/// `STEP<tab>NAME<tab>VALUE`. `launch verify-equivalence` compares such files.
struct StepDigests {
  static let option = "--step-digests"
  private let lines: StepLines

  /// Refuses a path where something else is.
  static func check(_ path: String, notIn folders: [(option: String, path: String?)]) throws(Failure) {
    try ReportFile.check(path, option: option, notIn: folders, allowsNull: true, isOwn: isOwn)
  }

  /// Whether a file begins with the loss of a step: of which one depends on where its run began.
  private static func isOwn(_ path: String) -> Bool {
    guard let start = try? readStart(path, limitBytes: 64) else { return false }
    let digits = start.prefix { $0 != UInt8(ascii: "\t") }
    guard let step = Int(String(decoding: digits, as: UTF8.self)), step > 0 else { return false }
    return start.dropFirst(digits.count).starts(with: "\tloss\t".utf8)
  }

  /// Finds what stays of the file where a run goes on after `step`; see ``StepLines``.
  static func place(in path: String, continuingAfter step: Int) throws(Failure) -> StepLines.Place {
    try StepLines.place(in: path, header: "", continuingAfter: step)
  }

  /// Opens the file, which `check` has let pass.
  init(_ path: String, at place: StepLines.Place) throws(Failure) {
    lines = try StepLines(path, option: Self.option, header: "", at: place)
  }

  /// - Parameter model: its weights after the step.
  func write(_ report: StepReport, _ model: Model) throws(Failure) {
    var text = "\(report.step)\tloss\t\(report.loss)\n\(report.step)\tgrad_norm\t\(report.gradientNorm)\n"
    for slot in model.layout.slots {
      let digest = digest(of: model.parameters.pointer + slot.offset, count: slot.count)
      text += "\(report.step)\t\(slot.name)\t\(String(digest, radix: 16))\n"
    }
    try lines.write(Array(text.utf8))
  }

  func flush() throws(Failure) { try lines.flush() }
}
