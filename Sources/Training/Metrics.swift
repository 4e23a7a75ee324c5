/// Counts of a binary classification, which add up over batches and ranks; ratios are taken once, at the end.
public struct ClassificationCounts: Sendable, Equatable {
  public var truePositives = 0
  public var falsePositives = 0
  public var falseNegatives = 0
  public var correct = 0
  public var examples = 0
  /// Sum of the rows' losses.
  public var lossSum = 0.0

  public init() {}

  /// Counts one row; class 1 is the positive one.
  public mutating func add(label: Int, prediction: Int) {
    examples += 1
    if label == prediction { correct += 1 }
    if prediction == 1 && label == 1 { truePositives += 1 }
    if prediction == 1 && label != 1 { falsePositives += 1 }
    if prediction != 1 && label == 1 { falseNegatives += 1 }
  }

  public var accuracy: Double { examples == 0 ? 0 : Double(correct) / Double(examples) }

  /// 2TP / (2TP + FP + FN), 0 where nothing is positive, as scikit-learn with `zero_division=0`.
  public var f1: Double {
    let denominator = 2 * truePositives + falsePositives + falseNegatives
    return denominator == 0 ? 0 : Double(2 * truePositives) / Double(denominator)
  }

  /// Mean loss of a row.
  public var loss: Double { examples == 0 ? 0 : lossSum / Double(examples) }

  /// As numbers that a sum over ranks adds; counts are exact in a double up to 2⁵³.
  var asDoubles: [Double] {
    [truePositives, falsePositives, falseNegatives, correct, examples].map(Double.init) + [lossSum]
  }

  init(doubles: [Double]) {
    truePositives = Int(doubles[0])
    falsePositives = Int(doubles[1])
    falseNegatives = Int(doubles[2])
    correct = Int(doubles[3])
    examples = Int(doubles[4])
    lossSum = doubles[5]
  }
}
