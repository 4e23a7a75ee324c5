import FoundationEssentials
import Glibc
import JSON
import System

// swift-format-ignore: AlwaysUseLowerCamelCase
/// One optimizer step, as a metrics line: the names are those of the file.
public struct StepRecord: Codable, Sendable, Equatable {
  public var kind = "step"
  public var step: Int
  /// Epochs done, in fractions.
  public var epoch: Double
  /// Mean loss of a row over all ranks; null in the file where it is not finite.
  public var loss: Double
  /// The rate that this step used.
  public var learning_rate: Double
  /// Norm of the whole gradient before clipping; null in the file where it is not finite.
  public var grad_norm: Double
  /// True where the step was left out, because a number is not finite; else not in the file.
  public var skipped: Bool?

  private enum CodingKeys: CodingKey { case kind, step, epoch, loss, learning_rate, grad_norm, skipped }

  public init(_ report: StepReport, epoch: Double) {
    step = report.step
    self.epoch = epoch
    loss = report.loss
    learning_rate = report.learningRate
    grad_norm = report.gradientNorm
    skipped = report.skipped == nil ? nil : true
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    kind = try container.decode(String.self, forKey: .kind)
    step = try container.decode(Int.self, forKey: .step)
    epoch = try container.decode(Double.self, forKey: .epoch)
    loss = try container.decode(Double?.self, forKey: .loss) ?? .nan
    learning_rate = try container.decode(Double.self, forKey: .learning_rate)
    grad_norm = try container.decode(Double?.self, forKey: .grad_norm) ?? .nan
    skipped = try container.decodeIfPresent(Bool.self, forKey: .skipped)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(kind, forKey: .kind)
    try container.encode(step, forKey: .step)
    try container.encode(epoch, forKey: .epoch)
    // JSON has no other numbers.
    try container.encode(loss.isFinite ? loss : nil, forKey: .loss)
    try container.encode(learning_rate, forKey: .learning_rate)
    try container.encode(grad_norm.isFinite ? grad_norm : nil, forKey: .grad_norm)
    try container.encodeIfPresent(skipped, forKey: .skipped)
  }
}

/// One evaluation, as a metrics line: figures stand under their own names, those that are not defined as null.
public struct EvaluationRecord: Codable, Sendable, Equatable {
  /// `eval` for validation rows, `test` for test rows.
  public var kind = "eval"
  public var epoch: Double
  public var step: Int
  public var loss: Double
  public var examples: Int
  public var values: [MetricValue]

  public init(kind: String = "eval", epoch: Double, step: Int, loss: Double, examples: Int, values: [MetricValue]) {
    self.kind = kind
    self.epoch = epoch
    self.step = step
    self.loss = loss
    self.examples = examples
    self.values = values
  }

  /// The figure called `name`.
  public subscript(name: String) -> Double? { values.first { $0.name == name }?.value }

  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  private enum Field: String, CaseIterable {
    case kind, epoch, step, loss, examples
    var key: Key { Key(stringValue: rawValue) }
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    kind = try container.decode(String.self, forKey: Field.kind.key)
    epoch = try container.decode(Double.self, forKey: Field.epoch.key)
    step = try container.decode(Int.self, forKey: Field.step.key)
    loss = try container.decode(Double.self, forKey: Field.loss.key)
    examples = try container.decode(Int.self, forKey: Field.examples.key)
    values = try container.allKeys.filter { Field(rawValue: $0.stringValue) == nil }
      .map { MetricValue($0.stringValue, try container.decode(Double?.self, forKey: $0) ?? .nan) }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(kind, forKey: Field.kind.key)
    try container.encode(epoch, forKey: Field.epoch.key)
    try container.encode(step, forKey: Field.step.key)
    try container.encode(loss, forKey: Field.loss.key)
    try container.encode(examples, forKey: Field.examples.key)
    for value in values {
      let key = Key(stringValue: value.name)
      if value.value.isFinite {
        try container.encode(value.value, forKey: key)
      } else {
        try container.encodeNil(forKey: key)
      }
    }
  }
}

/// A file of JSON lines, one a record, for programs to read while the job runs.
public final class MetricsFile {
  private let path: String
  private let descriptor: Int32
  private let encoder: JSONEncoder
  /// Bytes of whole lines.
  private var byteCount = 0
  /// Whether it is the file of a run that went on, and has no step of the run before.
  public let isLate: Bool

  /// Makes sure, before long work, that metrics can be written to `path`: to nothing, to metrics of an earlier run, or to
  /// `/dev/null`.
  ///
  /// - Parameters:
  ///   - option: that named the file, for messages.
  ///   - folders: where the file must not be, with the options that named them.
  public static func check(
    _ path: String, option: String, notIn folders: [(option: String, path: String?)] = []
  ) throws(Failure) {
    try ReportFile.check(path, option: option, notIn: folders, allowsNull: true, isOwn: isMetrics)
  }

  /// Whether the first line of a file is a record.
  private static func isMetrics(_ path: String) -> Bool {
    guard let start = try? readStart(path, limitBytes: 1 << 16) else { return false }
    let line = Array(start.prefix { $0 != UInt8(ascii: "\n") })
    let kind = try? JSONDocument(line, path: path).root.member("kind")?.string()
    return kind == "step" || kind == "eval"
  }

  /// Creates the file, or empties it.
  ///
  /// - Parameter option: that named it, for messages.
  public init(_ path: String, option: String) throws(Failure) {
    self.path = path
    isLate = false
    descriptor = try ReportFile.open(path, option: option)
    encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  }

  /// Opens the file of a run that goes on after `step`: what it says of later steps is cut off, and a line that is not
  /// whole; what comes is appended. A file that is missing or empty begins there.
  ///
  /// - Parameters:
  ///   - option: that named it, for messages.
  ///   - evaluated: whether evaluations at that step stay.
  /// - Throws: `.badData` where the file lacks steps up to that one, for its steps would have a gap.
  public init(_ path: String, option: String, continuingAfter step: Int, evaluated: Bool) throws(Failure) {
    self.path = path
    encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let isThere = (try? InputFile(path)) != nil
    let bytes = isThere ? try readBytes(path, limitBytes: 1 << 32) : []
    let kept = try Self.kept(of: bytes, path: path, step: step, evaluated: evaluated)
    byteCount = kept.bytes
    // What is no file, as /dev/null, has no steps to lack.
    isLate = !kept.hasSteps && (isThere || !exists(path))
    descriptor = try ReportFile.open(path, option: option, keepingBytes: kept.bytes)
  }

  private static let hint = "give the metrics file of the run that is resumed, or the name of a new one"

  /// How many bytes of a metrics file belong to steps up to `step`, and whether there are any such steps.
  private static func kept(
    of bytes: [UInt8], path: String, step: Int, evaluated: Bool
  ) throws(Failure) -> (bytes: Int, hasSteps: Bool) {
    var start = 0
    var next: Int?
    var line = 1
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      let record = try JSONDocument(Array(bytes[start..<end]), path: path, firstLine: line, status: .badData).root
      let kind = try record.member("kind")?.string()
      guard let found = try record.member("step")?.int() else { throw record.failure("has no \"step\"") }
      let isStep = kind == "step"
      guard isStep ? found <= step : found < step || found == step && evaluated && kind == "eval" else { break }
      if isStep {
        if let next, found != next {
          throw record.failure(
            "is of step \(found) after one of step \(next - 1), expected step \(next)", hint: hint)
        }
        next = found + 1
      }
      start = end + 1
      line += 1
    }
    if let next, next != step + 1 {
      throw Failure(.badData, at: path, "ends at step \(next - 1), expected at least \(step)", hint: hint)
    }
    return (start, next != nil)
  }

  /// Makes what is written so far durable.
  public func flush() throws(Failure) {
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS else {
      throw Failure(.ioError, at: path, "fsync failed: \(lastSystemError())")
    }
  }

  deinit { close(descriptor) }

  /// Appends one line. Where that fails, the lines before it stay whole.
  public func write(_ record: some Encodable) throws(Failure) {
    let data: Data
    do { data = try encoder.encode(record) } catch {
      throw Failure(.badData, at: path, "a record has no JSON form: \(error)")
    }
    let line = [UInt8](data) + [UInt8(ascii: "\n")]
    do throws(Failure) { try writeAll(line, to: descriptor, at: path) } catch {
      ftruncate(descriptor, byteCount)
      throw error
    }
    byteCount += line.count
  }
}
