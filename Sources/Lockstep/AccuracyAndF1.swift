import System
import Training

/// Accuracy and F1 of two classes, GLUE's metric for MRPC and QQP; equal to scikit-learn's.
public struct AccuracyAndF1: Sendable {
  /// The result, as `evaluate` prints it.
  public struct Scores: Sendable, Equatable, CustomStringConvertible {
    public var accuracy: Double
    /// Of class 1; 0 where nothing is positive.
    public var f1: Double

    public var description: String { "accuracy \(formatted(accuracy, digits: 4)), f1 \(formatted(f1, digits: 4))" }
  }

  private var counts = ClassificationCounts()

  public init() {}

  /// Rows so far.
  public var examples: Int { counts.examples }

  /// Counts rows.
  ///
  /// - Parameters:
  ///   - predictions: `[rows]`: classes.
  ///   - references: `[rows]`: the classes that are right.
  /// - Throws: a misuse where the counts differ or a reference is no class, as in rows without labels.
  public mutating func add(predictions: [Int], references: [Int]) throws(Failure) {
    guard predictions.count == references.count else {
      throw misuse("metric.add", "\(predictions.count) predictions for \(references.count) references")
    }
    if let row = references.firstIndex(where: { !(0...1 ~= $0) }) {
      throw misuse("metric.add", "reference \(references[row]) of row \(row + 1), expected 0 or 1")
    }
    for (prediction, reference) in zip(predictions, references) { counts.add(label: reference, prediction: prediction) }
  }

  /// The scores of all rows so far.
  public func compute() -> Scores { Scores(accuracy: counts.accuracy, f1: counts.f1) }
}
