import Glibc

/// McNemar's test of two models on the same rows: whether one is right more often than the other (McNemar, Psychometrika
/// 12, 1947).
///
/// Only rows count on which exactly one model is right: `b` and `c` of them. If the models were equally good, either would
/// be right on half of them. With fewer than 25 the p-value is the exact binomial one, 2 · Σ C(b+c, k) / 2^(b+c) over
/// k ≤ min(b, c), at most 1: that of `scipy.stats.binomtest`. With more, (|b − c| − 1)² / (b + c), with the correction of
/// Edwards (Psychometrika 13, 1948), has a χ² distribution of one degree of freedom, whose upper tail is erfc(√(x / 2)).
public struct McNemarTest: Sendable, Equatable {
  /// Rows on which the first model alone is right.
  public var onlyFirst: Int
  /// Rows on which the second model alone is right.
  public var onlySecond: Int

  static let fewestForChiSquare = 25

  public init(onlyFirst: Int, onlySecond: Int) {
    precondition(onlyFirst >= 0 && onlySecond >= 0, "counts \(onlyFirst) and \(onlySecond)")
    self.onlyFirst = onlyFirst
    self.onlySecond = onlySecond
  }

  /// - Parameters:
  ///   - first: [rows], whether the first model is right.
  ///   - second: as many, of the other.
  public init(first: [Bool], second: [Bool]) {
    precondition(first.count == second.count, "\(first.count) and \(second.count) rows")
    self.init(
      onlyFirst: zip(first, second).count { $0 && !$1 }, onlySecond: zip(first, second).count { !$0 && $1 })
  }

  private var disagreements: Int { onlyFirst + onlySecond }

  public var isExact: Bool { disagreements < Self.fewestForChiSquare }

  /// The χ² statistic; nil for the exact test.
  public var statistic: Double? {
    guard !isExact else { return nil }
    let excess = max(0, Double(abs(onlyFirst - onlySecond)) - 1)
    return excess * excess / Double(disagreements)
  }

  /// The probability of such a difference, or a larger one, between equally good models.
  public var pValue: Double {
    if let statistic { return erfc((statistic / 2).squareRoot()) }
    // Whole numbers below 2²⁴.
    var (choices, sum) = (1, 0)
    for k in 0...min(onlyFirst, onlySecond) {
      if k > 0 { choices = choices * (disagreements - k + 1) / k }
      sum += choices
    }
    return min(1, 2 * Double(sum) / exp2(Double(disagreements)))
  }
}
