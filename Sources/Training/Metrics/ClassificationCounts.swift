import Datasets
import Reporting
import System

/// Counts of a classification, which add up over batches; ratios are taken once, at the end. The formulas are
/// scikit-learn's.
public struct ClassificationCounts: Metric, Equatable {
  /// By class: rows that have it, rows for which it is predicted, and rows for which both is so.
  private var labelled: [Int] = []
  private var predicted: [Int] = []
  private var matched: [Int] = []
  public private(set) var examples = 0

  public init() {}

  /// Counts one row.
  public mutating func add(label: Int, prediction: Int) {
    precondition(label >= 0 && prediction >= 0, "label \(label), prediction \(prediction)")
    let missing = max(label, prediction) + 1 - labelled.count
    if missing > 0 {
      for counts in [\Self.labelled, \Self.predicted, \Self.matched] {
        self[keyPath: counts] += repeatElement(0, count: missing)
      }
    }
    examples += 1
    labelled[label] += 1
    predicted[prediction] += 1
    if label == prediction { matched[label] += 1 }
  }

  public mutating func add(_ rows: EvaluatedRows) throws(Failure) {
    for (row, label) in rows.labels.enumerated() {
      guard case .category(let label) = label else {
        throw Failure(.badData, "row \(row + 1) has the label \(label), expected a class")
      }
      add(label: label, prediction: rows.predictedClass(row))
    }
  }

  public func compute() -> [MetricValue] {
    [
      MetricValue("accuracy", accuracy), MetricValue("f1", f1), MetricValue("f1_macro", f1Macro),
      MetricValue("matthews_correlation", matthewsCorrelation),
    ]
  }

  /// Rows whose class is predicted.
  public var correct: Int { matched.reduce(0, +) }

  public var accuracy: Double { examples == 0 ? 0 : Double(correct) / Double(examples) }

  /// F1 of class 1: 2TP / (2TP + FP + FN), 0 where nothing is positive.
  public var f1: Double { labelled.count > 1 ? f1(of: 1) : 0 }

  private func f1(of index: Int) -> Double {
    f1Score(matched[index], labelled: labelled[index], predicted: predicted[index])
  }

  /// The mean F1 of the classes that a row has or is predicted to have.
  public var f1Macro: Double {
    let classes = labelled.indices.filter { labelled[$0] + predicted[$0] > 0 }
    return classes.isEmpty ? 0 : classes.reduce(0) { $0 + f1(of: $1) } / Double(classes.count)
  }

  /// Matthews' correlation, of any number of classes (Gorodkin 2004); 0 where all labels or all predictions are one class.
  public var matthewsCorrelation: Double {
    // Whole numbers below 2⁵³ for up to 9e7 rows.
    func dot(_ left: [Int], _ right: [Int]) -> Double {
      zip(left, right).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    let (rows, right) = (Double(examples), Double(correct))
    let product =
      (rows * rows - dot(predicted, predicted)) * (rows * rows - dot(labelled, labelled))
    return product == 0 ? 0 : (right * rows - dot(labelled, predicted)) / product.squareRoot()
  }
}

/// 2TP / (rows that have the class + rows that are predicted to have it), 0 where that is none.
func f1Score(_ matched: Int, labelled: Int, predicted: Int) -> Double {
  labelled + predicted == 0 ? 0 : Double(2 * matched) / Double(labelled + predicted)
}

/// Counts of a classification with any number of classes a row, by class.
public struct MultiLabelCounts: Metric, Equatable {
  private var labelled: [Int] = []
  private var predicted: [Int] = []
  private var matched: [Int] = []
  private var correct = 0
  public private(set) var examples = 0

  public init() {}

  public mutating func add(_ rows: EvaluatedRows) throws(Failure) {
    if labelled.isEmpty {
      (labelled, predicted) = (Array(repeating: 0, count: rows.outputs), Array(repeating: 0, count: rows.outputs))
      matched = labelled
    }
    for (row, label) in rows.labels.enumerated() {
      guard case .categories(let own) = label, rows.outputs == labelled.count, own.allSatisfy({ $0 < rows.outputs })
      else { throw Failure(.badData, "row \(row + 1) has the label \(label), expected a set of classes") }
      let guessed = rows.predictedClasses(row)
      examples += 1
      if guessed == own { correct += 1 }
      for index in own { labelled[index] += 1 }
      for index in guessed { predicted[index] += 1 }
      for index in guessed where own.contains(index) { matched[index] += 1 }
    }
  }

  /// Accuracy counts rows whose whole set is predicted; F1 is taken over all classes together, and as the classes' mean.
  public func compute() -> [MetricValue] {
    let all = { (counts: [Int]) in counts.reduce(0, +) }
    let scores = labelled.indices.map { f1Score(matched[$0], labelled: labelled[$0], predicted: predicted[$0]) }
    return [
      MetricValue("accuracy", examples == 0 ? 0 : Double(correct) / Double(examples)),
      MetricValue("f1_micro", f1Score(all(matched), labelled: all(labelled), predicted: all(predicted))),
      MetricValue("f1_macro", scores.isEmpty ? 0 : scores.reduce(0, +) / Double(scores.count)),
    ]
  }
}
