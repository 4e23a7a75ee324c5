import Glibc
import Reporting
import System
import Training

/// A file with what every step came to: a line each for the loss, the gradient's norm and the weights of each tensor, as
/// `STEP<tab>NAME<tab>VALUE`. `launch verify-equivalence` compares such files.
struct StepDigests {
  static let option = "--step-digests"
  private let descriptor: Int32
  private let path: String

  /// Refuses a path where something else is.
  static func check(_ path: String, notIn folders: [(option: String, path: String?)]) throws(Failure) {
    try ReportFile.check(path, option: option, notIn: folders, allowsNull: true) { path in
      (try? readBytes(path, limitBytes: 1 << 30))?.starts(with: "1\tloss\t".utf8) ?? false
    }
  }

  /// Begins the file, which `check` has let pass.
  init(_ path: String) throws(Failure) {
    self.path = path
    descriptor = try ReportFile.open(path, option: Self.option)
  }

  /// - Parameter model: its weights after the step.
  func write(_ report: StepReport, _ model: Model) throws(Failure) {
    var text = "\(report.step)\tloss\t\(report.loss)\n\(report.step)\tgrad_norm\t\(report.gradientNorm)\n"
    for slot in model.layout.slots {
      let digest = digest(of: model.parameters.pointer + slot.offset, count: slot.count)
      text += "\(report.step)\t\(slot.name)\t\(String(digest, radix: 16))\n"
    }
    try writeAll(Array(text.utf8), to: descriptor, at: path)
  }
}
