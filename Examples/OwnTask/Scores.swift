import Glibc
import Lockstep

/// Focal loss (Lin et al., arXiv 1708.02002) with γ = 2: -(1 - p)² log p for the probability p of the right class, so that
/// rows that are right already count little.
func focalLoss(logits: Matrix, labels: [Label]) throws -> (value: Double, gradient: Matrix) {
  var total = 0.0
  var gradient = Matrix(rows: logits.rows, columns: logits.columns)
  for row in 0..<logits.rows {
    guard case .category(let label) = labels[row] else { throw UnlabelledRow(row: row) }
    let values = (0..<logits.columns).map { Double(logits[row, $0]) }
    let largest = values.max() ?? 0
    let exponentials = values.map { exp($0 - largest) }
    let probabilities = exponentials.map { $0 / exponentials.reduce(0, +) }
    let p = max(probabilities[label], 1e-12)
    total -= (1 - p) * (1 - p) * log(p)
    // By p, and from there by each logit: dp/dz = p (δ - q).
    let slope = 2 * (1 - p) * log(p) - (1 - p) * (1 - p) / p
    for column in 0..<logits.columns {
      let delta = column == label ? 1.0 : 0.0
      gradient[row, column] = Float(slope * p * (delta - probabilities[column]) / Double(logits.rows))
    }
  }
  return (total / Double(logits.rows), gradient)
}

/// An error of the program's own, with the status that it ends with.
struct UnlabelledRow: ErrorWithStatus, CustomStringConvertible {
  var row: Int
  var exitStatus: Int32 { 65 }
  var description: String { "row \(row + 1) of a batch has no class" }
}

/// How far predictions of two classes agree with the references, beyond chance: 1 for all of them, 0 as by chance.
struct CohensKappa {
  /// [reference][prediction]
  private var counts = [[0, 0], [0, 0]]

  var count: Int { counts.joined().reduce(0, +) }

  mutating func add(predictions: [Int], references: [Int]) {
    for (prediction, reference) in zip(predictions, references) { counts[reference][prediction] += 1 }
  }

  var value: Double {
    let total = Double(max(count, 1))
    let agreed = Double(counts[0][0] + counts[1][1]) / total
    let byChance = (0..<2).reduce(0.0) { sum, number in
      let references = Double(counts[number][0] + counts[number][1]) / total
      let predictions = Double(counts[0][number] + counts[1][number]) / total
      return sum + references * predictions
    }
    return byChance == 1 ? 0 : (agreed - byChance) / (1 - byChance)
  }
}
