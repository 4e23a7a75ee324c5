import System

/// What two rules without a model reach on a validation part; label 1 is the positive class of F1.
public struct Baselines: Sendable, Equatable {
  /// Always guessing the label that is more frequent in the training part.
  public let majorityAccuracy: Double
  public let majorityF1: Double
  /// Guessing 1 where the sentences share at least a fraction ``threshold`` of their words.
  public let overlapAccuracy: Double
  public let overlapF1: Double
  /// The Jaccard overlap (words in both / words in either) from which the rule says 1: the one with the highest accuracy
  /// on the training part, the lowest of equals; infinite where always saying 0 is best.
  public let threshold: Double

  /// Both rules fitted to the table `training` and judged on `validation`: MRPC's columns below one header line.
  public init(training: [UInt8], validation: [UInt8]) {
    let seen = Self.rows(of: training)
    let judged = Self.rows(of: validation)
    let positives = seen.count { $0.isParaphrase }
    let guess = 2 * positives >= seen.count
    let threshold = Self.bestThreshold(seen)
    (majorityAccuracy, majorityF1) = Self.score(judged) { _ in guess }
    (overlapAccuracy, overlapF1) = Self.score(judged) { $0.overlap >= threshold }
    self.threshold = threshold
  }

  private struct Row {
    var isParaphrase: Bool
    var overlap: Double
  }

  /// Accuracy and F1 of a rule; F1 is 0 where nothing is guessed right, accuracy where there are no rows.
  private static func score(_ rows: [Row], rule: (Row) -> Bool) -> (accuracy: Double, f1: Double) {
    var right = 0
    var truePositives = 0
    var wrong = 0
    for row in rows {
      let guess = rule(row)
      if guess != row.isParaphrase { wrong += 1 } else { right += 1 }
      if guess && row.isParaphrase { truePositives += 1 }
    }
    let f1 = truePositives == 0 ? 0 : Double(2 * truePositives) / Double(2 * truePositives + wrong)
    return (rows.isEmpty ? 0 : Double(right) / Double(rows.count), f1)
  }

  private static func bestThreshold(_ rows: [Row]) -> Double {
    var counts: [Double: (negatives: Int, positives: Int)] = [:]
    for row in rows {
      if row.isParaphrase {
        counts[row.overlap, default: (0, 0)].positives += 1
      } else {
        counts[row.overlap, default: (0, 0)].negatives += 1
      }
    }
    // Right answers when all rows are called 1; each overlap that falls below the threshold turns its rows over.
    var right = rows.count { $0.isParaphrase }
    var best = (right: right, threshold: 0.0)
    let sorted = counts.sorted { $0.key < $1.key }
    for (index, entry) in sorted.enumerated() {
      right += entry.value.negatives - entry.value.positives
      if right > best.right { best = (right, index + 1 < sorted.count ? sorted[index + 1].key : .infinity) }
    }
    return best.threshold
  }

  private static func rows(of table: [UInt8]) -> [Row] {
    table.split(separator: UInt8(ascii: "\n")).dropFirst().map { line in
      let fields = line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
      precondition(fields.count == 5, "\(fields.count) fields, expected 5")
      return Row(isParaphrase: fields[0].first == UInt8(ascii: "1"), overlap: overlap(fields[3], fields[4]))
    }
  }

  /// Distinct words in both over distinct words in either; letters A to Z count as a to z.
  private static func overlap(_ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>) -> Double {
    let a = words(of: first)
    let b = words(of: second)
    let shared = a.count { b.contains($0) }
    let either = a.count + b.count - shared
    return either == 0 ? 0 : Double(shared) / Double(either)
  }

  /// A hash for each distinct word: two words of so small a corpus do not share one.
  private static func words(of text: ArraySlice<UInt8>) -> [UInt64] {
    var result: [UInt64] = []
    result.reserveCapacity(16)
    var hash = FNV1a()
    func close() {
      if hash.value != FNV1a.start && !result.contains(hash.value) { result.append(hash.value) }
      hash = FNV1a()
    }
    for byte in text {
      if byte == UInt8(ascii: " ") {
        close()
      } else {
        hash.add((0x41...0x5A).contains(byte) ? byte | 0x20 : byte)
      }
    }
    close()
    return result
  }
}
