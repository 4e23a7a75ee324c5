import Datasets
import System
import Training

/// Intervals of an evaluation's figures by the bootstrap: rows are drawn with replacement, as many as there are, and the
/// figures computed again. The interval is between the percentiles of what was found (Efron and Tibshirani, An
/// Introduction to the Bootstrap, 1993, chapter 13).
///
/// Row `i` of resample `b` is a function of (seed, b, i) alone, so that the same seed gives the same interval anywhere.
public struct Bootstrap: Sendable, Equatable {
  public var resamples: Int
  public var seed: UInt64
  /// The share of resamples inside the interval.
  public var confidence = 0.95

  public init(resamples: Int, seed: UInt64) {
    self.resamples = resamples
    self.seed = seed
  }

  /// The rows of a resample of `count` rows.
  public func rows(_ resample: Int, count: Int) -> [Int] {
    let start = Self.mixed(seed &+ Self.mixed(UInt64(truncatingIfNeeded: resample)))
    return (0..<count).map { row in
      let word = Self.mixed(start &+ UInt64(truncatingIfNeeded: row) &* 0x9E37_79B9_7F4A_7C15)
      return Int(word.multipliedFullWidth(by: UInt64(count)).high)
    }
  }

  /// SplitMix64's output function (Steele, Lea and Flood 2014).
  private static func mixed(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  /// The interval of each of `metric`'s figures, in its order; nil where a figure is not defined. With `other`, of what
  /// the figures of `rows` are more than its, both from the same drawn rows.
  public func intervals(
    of rows: EvaluatedRows, minus other: EvaluatedRows? = nil, _ metric: TaskMetric
  ) throws(Failure) -> [ClosedRange<Double>?] {
    var found = metric.names.map { _ in [Double]() }
    for resample in 0..<resamples {
      let drawn = self.rows(resample, count: rows.count)
      var values = try Self.values(rows, drawn, metric)
      if let other {
        for (index, value) in try Self.values(other, drawn, metric).enumerated() { values[index] -= value }
      }
      for (index, value) in values.enumerated() where value.isFinite { found[index].append(value) }
    }
    let outside = (1 - confidence) / 2
    return found.map { values in
      guard !values.isEmpty else { return nil }
      let sorted = values.sorted()
      return quantile(outside, ofSorted: sorted)...quantile(1 - outside, ofSorted: sorted)
    }
  }

  private static func values(_ rows: EvaluatedRows, _ drawn: [Int], _ metric: TaskMetric) throws(Failure) -> [Double] {
    var logits: [Float] = []
    logits.reserveCapacity(drawn.count * rows.outputs)
    for row in drawn { logits += rows.logits[row * rows.outputs..<(row + 1) * rows.outputs] }
    var metric = metric
    try metric.add(EvaluatedRows(outputs: rows.outputs, logits: logits, labels: drawn.map { rows.labels[$0] }))
    return metric.compute().map(\.value)
  }
}

/// The quantile `share` of rising values, between two of them in proportion: numpy's default.
func quantile(_ share: Double, ofSorted values: [Double]) -> Double {
  let place = share * Double(values.count - 1)
  let index = min(Int(place), values.count - 1)
  let next = min(index + 1, values.count - 1)
  return values[index] + (values[next] - values[index]) * (place - Double(index))
}
