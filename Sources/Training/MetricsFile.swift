import FileSystem
import FoundationEssentials
import Glibc

// swift-format-ignore: AlwaysUseLowerCamelCase
/// One optimizer step, as a metrics line: the names are those of the file.
public struct StepRecord: Codable, Sendable, Equatable {
  public var kind = "step"
  public var step: Int
  /// Epochs done, in fractions.
  public var epoch: Double
  /// Mean loss of a row over all ranks.
  public var loss: Double
  /// The rate that this step used.
  public var learning_rate: Double
  /// Norm of the whole gradient before clipping.
  public var grad_norm: Double

  public init(_ report: StepReport, epoch: Double) {
    step = report.step
    self.epoch = epoch
    loss = report.loss
    learning_rate = report.learningRate
    grad_norm = report.gradientNorm
  }
}

/// One evaluation, as a metrics line.
public struct EvaluationRecord: Codable, Sendable, Equatable {
  public var kind = "eval"
  public var epoch: Double
  public var step: Int
  public var accuracy: Double
  public var f1: Double
  public var loss: Double
  public var examples: Int

  public init(_ counts: ClassificationCounts, epoch: Double, step: Int) {
    self.epoch = epoch
    self.step = step
    accuracy = counts.accuracy
    f1 = counts.f1
    loss = counts.loss
    examples = counts.examples
  }
}

/// A file of JSON lines, one a record, for programs to read while the job runs.
public final class MetricsFile {
  private let path: String
  private let descriptor: Int32
  private let encoder: JSONEncoder

  /// Creates the file, or empties it.
  public init(_ path: String) throws(Failure) {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw Failure(.cannotCreate, at: path, "metrics cannot be written: \(lastSystemError())")
    }
    encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  }

  deinit { close(descriptor) }

  /// Appends one line.
  public func write(_ record: some Encodable) throws(Failure) {
    let data: Data
    do { data = try encoder.encode(record) } catch {
      throw Failure(.badData, at: path, "a record has no JSON form: \(error)")
    }
    let bytes = [UInt8](data) + [UInt8(ascii: "\n")]
    let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
    guard count == bytes.count else { throw Failure(.ioError, at: path, "writing failed: \(lastSystemError())") }
  }
}
