import Datasets
import Reporting
import System

/// Scores that a model gave, beside the rows' own. The formulas are scipy's and scikit-learn's; both correlations are NaN
/// for fewer than two rows, and where all scores or all labels are equal.
public struct RegressionScores: Metric, Equatable {
  private var predictions: [Double] = []
  private var labels: [Double] = []

  public init() {}

  public mutating func add(_ rows: EvaluatedRows) throws(Failure) {
    for (row, label) in rows.labels.enumerated() {
      guard case .score(let label) = label else {
        throw Failure(.badData, "row \(row + 1) has the label \(label), expected a score")
      }
      labels.append(Double(label))
      predictions.append(Double(rows.score(row)))
    }
  }

  public func compute() -> [MetricValue] {
    [
      MetricValue("pearson", pearson), MetricValue("spearmanr", spearman), MetricValue("mse", meanSquaredError),
    ]
  }

  /// The mean squared difference.
  public var meanSquaredError: Double {
    let squares = zip(predictions, labels).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    return labels.isEmpty ? 0 : squares / Double(labels.count)
  }

  /// Pearson's correlation, as `scipy.stats.pearsonr`.
  public var pearson: Double {
    let value = correlation(predictions, labels)
    // Of two rows it is 1 or -1.
    return labels.count == 2 ? value.rounded() : value
  }

  /// The correlation of ranks, those of equal scores averaged, as `scipy.stats.spearmanr`.
  public var spearman: Double { correlation(ranks(predictions), ranks(labels)) }
}

private func correlation(_ left: [Double], _ right: [Double]) -> Double {
  guard left.count > 1, left.contains(where: { $0 != left[0] }), right.contains(where: { $0 != right[0] }) else {
    return .nan
  }
  let (x, y) = (fromMean(left), fromMean(right))
  return min(1, max(-1, zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }))
}

/// The differences from the mean, scaled to a norm of 1. Scaled to a largest of 1 first, so that no square overflows or
/// vanishes.
private func fromMean(_ values: [Double]) -> [Double] {
  let mean = values.reduce(0, +) / Double(values.count)
  let differences = values.map { $0 - mean }
  let largest = differences.reduce(0) { max($0, abs($1)) }
  let norm = largest * differences.reduce(0) { $0 + ($1 / largest) * ($1 / largest) }.squareRoot()
  return differences.map { $0 / norm }
}

/// The place of each value in rising order, from 1; equal values share the mean of theirs.
private func ranks(_ values: [Double]) -> [Double] {
  let order = values.indices.sorted { values[$0] < values[$1] }
  var ranks = [Double](repeating: 0, count: values.count)
  var start = 0
  while start < order.count {
    var end = start + 1
    while end < order.count, values[order[end]] == values[order[start]] { end += 1 }
    for place in start..<end { ranks[order[place]] = Double(start + 1 + end) / 2 }
    start = end
  }
  return ranks
}
