import Collectives
import Datasets
import Reporting
import System

/// What is computed from a model's outputs and the labels of all rows.
///
/// Rows come to it in the data set's order, each once, and all of them on every rank: `TrainingEngine.evaluate` gathers what
/// the ranks computed before a metric sees it. So a metric that needs all predictions, as a rank correlation does, is exact
/// on any number of ranks, and the same there.
public protocol Metric: Sendable {
  /// Adds rows.
  mutating func add(_ rows: EvaluatedRows) throws(Failure)
  /// The figures of the rows so far.
  func compute() -> [MetricValue]
}

/// Rows of a data set with what a model said about them.
public struct EvaluatedRows: Sendable, Equatable {
  /// Numbers of each row in ``logits``.
  public let outputs: Int
  /// [rows, outputs]
  public let logits: [Float]
  /// [rows]
  public let labels: [Label]

  public init(outputs: Int, logits: [Float], labels: [Label]) {
    precondition(
      outputs > 0 && logits.count == outputs * labels.count,
      "\(logits.count) logits for \(labels.count) rows of \(outputs)")
    self.outputs = outputs
    self.logits = logits
    self.labels = labels
  }

  /// All rows from the parts that the ranks computed, which follow one another; parts may differ in length, or be empty.
  ///
  /// - Parameters:
  ///   - own: [rows of this rank, outputs]
  ///   - labels: of all rows, the same on every rank.
  package init(
    gathering own: [Float], outputs: Int, labels: [Label], _ communicator: any Communicator
  ) throws(Failure) {
    let parts = try communicator.allGather(own.withUnsafeBytes { Array($0) })
    var logits: [Float] = []
    logits.reserveCapacity(labels.count * outputs)
    for part in parts { part.withUnsafeBytes { logits.append(contentsOf: $0.bindMemory(to: Float.self)) } }
    self.init(outputs: outputs, logits: logits, labels: labels)
  }

  public var count: Int { labels.count }

  /// The class with the largest logit, the first where several are.
  public func predictedClass(_ row: Int) -> Int {
    var best = 0
    for j in 1..<max(outputs, 1) where logits[row * outputs + j] > logits[row * outputs + best] { best = j }
    return best
  }

  /// The classes with a probability above a half: those whose logit is positive.
  public func predictedClasses(_ row: Int) -> [Int] {
    (0..<outputs).filter { logits[row * outputs + $0] > 0 }
  }

  /// The score of a regression.
  public func score(_ row: Int) -> Float { logits[row * outputs] }
}

/// What an evaluation found: the mean loss, and every row's outputs in the data set's order, the same on every rank.
public struct Evaluation: Sendable, Equatable {
  /// Sum of the rows' losses.
  public var lossSum: Double
  public var rows: EvaluatedRows

  public init(lossSum: Double, rows: EvaluatedRows) {
    self.lossSum = lossSum
    self.rows = rows
  }

  public var examples: Int { rows.count }

  /// Mean loss of a row.
  public var loss: Double { examples == 0 ? 0 : lossSum / Double(examples) }

  /// The figures of `metric`, which has seen no other rows.
  public func compute(_ metric: some Metric) throws(Failure) -> [MetricValue] {
    var metric = metric
    try metric.add(rows)
    return metric.compute()
  }

  /// The counts of a classification; all 0 for other tasks.
  public var counts: ClassificationCounts {
    var counts = ClassificationCounts()
    for (row, label) in rows.labels.enumerated() {
      if case .category(let label) = label { counts.add(label: label, prediction: rows.predictedClass(row)) }
    }
    return counts
  }

  /// Rows whose class is predicted.
  public var correct: Int { counts.correct }

  /// The share of rows whose class is predicted.
  public var accuracy: Double { counts.accuracy }

  /// F1 of class 1.
  public var f1: Double { counts.f1 }
}

extension EvaluationRecord {
  /// - Parameter values: figures of the rows, and of further ones under other names.
  public init(_ evaluation: Evaluation, values: [MetricValue], epoch: Double, step: Int, kind: String = "eval") {
    self.init(
      kind: kind, epoch: epoch, step: step, loss: evaluation.loss, examples: evaluation.examples, values: values)
  }
}
