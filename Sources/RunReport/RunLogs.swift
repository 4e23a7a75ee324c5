import Glibc
import Reporting
import System
import Training

/// Logs of a run for other programs, written while it runs.
public final class RunLogs {
  public enum Kind: String, Sendable, CaseIterable {
    /// Scalars that TensorBoard reads.
    case tensorboard
    /// Lines of kind, step, epoch, name and value.
    case csv
    /// The lines of a metrics file.
    case jsonl
  }

  private static let header = "kind,step,epoch,name,value\n"
  private var events: EventFile?
  private var metrics: MetricsFile?
  private var table: (path: String, descriptor: Int32)?

  /// Refuses a folder in which a log would replace something else than an earlier log.
  ///
  /// - Parameters:
  ///   - option: that named the folder, for messages.
  ///   - folders: where it must not be, with the options that named them.
  public static func check(
    _ kinds: [Kind], folder: String, option: String, notIn folders: [(option: String, path: String?)]
  ) throws(Failure) {
    for (other, path) in folders {
      if let path, isInside(folder, path) {
        throw Failure(.usage, at: option, "\(folder) is in the folder of \(other)", hint: "name a folder elsewhere")
      }
    }
    if exists(folder) && !isDirectory(folder) {
      throw Failure(.cannotCreate, at: folder, "is a file, expected a folder or nothing (\(option))")
    }
    if kinds.contains(.jsonl) { try MetricsFile.check("\(folder)/metrics.jsonl", option: option) }
    if kinds.contains(.csv) {
      try ReportFile.check("\(folder)/metrics.csv", option: option) { path in
        (try? readStart(path, limitBytes: header.utf8.count)).map { $0.elementsEqual(header.utf8) } ?? false
      }
    }
  }

  /// Makes the folder and the logs, of which earlier ones are emptied; TensorBoard's is a new file each time.
  public init(_ kinds: [Kind], folder: String, option: String, host: String) throws(Failure) {
    try makeDirectory(folder)
    if kinds.contains(.jsonl) { metrics = try MetricsFile("\(folder)/metrics.jsonl", option: option) }
    if kinds.contains(.csv) {
      let path = "\(folder)/metrics.csv"
      let descriptor = try ReportFile.open(path, option: option)
      table = (path, descriptor)
      try writeAll(Array(Self.header.utf8), to: descriptor, at: path)
    }
    if kinds.contains(.tensorboard) { events = try EventFile(folder: folder, host: host, time: secondsSince1970()) }
  }

  deinit { if let table { close(table.descriptor) } }

  public func write(_ step: StepRecord) throws(Failure) {
    try metrics?.write(step)
    let values = [("loss", step.loss), ("learning_rate", step.learning_rate), ("grad_norm", step.grad_norm)]
    try write("train", values, step: step.step, epoch: step.epoch)
  }

  public func write(_ evaluation: EvaluationRecord) throws(Failure) {
    try metrics?.write(evaluation)
    let values = [("loss", evaluation.loss)] + evaluation.values.map { ($0.name, $0.value) }
    try write(evaluation.kind, values, step: evaluation.step, epoch: evaluation.epoch)
  }

  private func write(_ kind: String, _ values: [(String, Double)], step: Int, epoch: Double) throws(Failure) {
    try events?.write(values.map { ("\(kind)/\($0)", $1) }, step: step, time: secondsSince1970())
    guard let table else { return }
    let lines = values.map { "\(kind),\(step),\(epoch),\($0),\($1.isFinite ? "\($1)" : "")\n" }.joined()
    try writeAll(Array(lines.utf8), to: table.descriptor, at: table.path)
  }
}
