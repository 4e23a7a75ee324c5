import Datasets
import Training

/// How often rows of each class are told to be which: scikit-learn's `confusion_matrix`.
public struct ConfusionMatrix: Sendable, Equatable {
  public let classes: Int
  /// `[classes, classes]`: rows of the class of the line that are told to be of the class of the column.
  public private(set) var counts: [Int]

  /// - Parameter rows: with a class each; others are left out.
  public init(_ rows: EvaluatedRows) {
    classes = rows.outputs
    counts = Array(repeating: 0, count: classes * classes)
    for (row, label) in rows.labels.enumerated() {
      guard case .category(let label) = label, label < classes else { continue }
      counts[label * classes + rows.predictedClass(row)] += 1
    }
  }

  public subscript(label label: Int, told told: Int) -> Int { counts[label * classes + told] }

  /// `[classes][classes]`.
  public var lines: [[Int]] { (0..<classes).map { Array(counts[$0 * classes..<($0 + 1) * classes]) } }

  /// Of rows with sets of classes, for each class `[[rest, wrong], [missed, right]]`: scikit-learn's
  /// `multilabel_confusion_matrix`.
  public static func perClass(_ rows: EvaluatedRows) -> [[[Int]]] {
    var tables = Array(repeating: [[0, 0], [0, 0]], count: rows.outputs)
    for (row, label) in rows.labels.enumerated() {
      guard case .categories(let own) = label else { continue }
      let told = rows.predictedClasses(row)
      for index in 0..<rows.outputs {
        tables[index][own.contains(index) ? 1 : 0][told.contains(index) ? 1 : 0] += 1
      }
    }
    return tables
  }
}

extension EvaluatedRows {
  /// [rows]: whether the model is right, with the whole set where rows have sets of classes; false for scores.
  public var areRight: [Bool] {
    labels.enumerated().map { row, label in
      switch label {
      case .category(let index): predictedClass(row) == index
      case .categories(let indices): predictedClasses(row) == indices
      case .score, .unknown: false
      }
    }
  }
}
