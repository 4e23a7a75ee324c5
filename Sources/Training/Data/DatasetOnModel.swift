import BERT
import Datasets
import System

extension TokenizedDataset {
  /// Why a model of `configuration` cannot take the rows; nil where every index in them is one that it has a row for: the
  /// kernels do not check.
  func problem(for configuration: BertConfiguration) -> String? {
    // Known for all rows together; which one it is, only where there is one.
    if largestID >= configuration.vocabularySize {
      return problem("token", inputIDs, below: configuration.vocabularySize, "vocab_size")
    }
    if !configuration.takes(tokenType: largestType) {
      return problem("token type", tokenTypeIDs, below: configuration.tokenTypes, "type_vocab_size")
    }
    if longestRow > configuration.maximumPositions {
      let row = (0..<count).first { tokens($0).count > configuration.maximumPositions } ?? 0
      return "row \(row + 1) has \(tokens(row).count) tokens, expected at most \(configuration.maximumPositions) "
        + "(\"max_position_embeddings\" of config.json)"
    }
    return nil
  }

  private func problem(_ kind: String, _ values: [Int32], below limit: Int, _ key: String) -> String {
    let index = values.firstIndex { $0 < 0 || Int($0) >= limit } ?? 0
    let row = (0..<count).first { tokens($0).contains(index) } ?? 0
    return "row \(row + 1) has the \(kind) \(values[index]), expected 0 to \(limit - 1) (\"\(key)\" of config.json)"
  }

  /// Why the rows cannot be compared with outputs of a model of `configuration`; nil where each has a label of its kind.
  func labelProblem(for configuration: BertConfiguration) -> String? {
    guard
      let row = labels.firstIndex(where: { !$0.fits(outputs: configuration.labels, isMultiLabel: isMultiLabel) })
    else { return nil }
    return switch labels[row] {
    case .unknown: "row \(row + 1) has no label, expected a split with labels"
    case .category(let index) where isMultiLabel:
      "row \(row + 1) has the class \(index), expected a set of classes as other rows have"
    case .category(let index): "row \(row + 1) has the class \(index), the model has \(configuration.labels) outputs"
    case .categories(let indices):
      "row \(row + 1) has the classes \(indices), the model has \(configuration.labels) outputs"
    case .score(let value): "row \(row + 1) has the score \(value), the model has \(configuration.labels) outputs"
    }
  }

  /// Throws `.badData` where a model of `configuration` cannot take the rows, or `withLabels` its loss their labels: with
  /// the row, from 1, the value and the limit.
  ///
  /// - Parameter name: what the message calls the rows.
  public func check(
    against configuration: BertConfiguration, withLabels: Bool = true, name: String? = nil
  ) throws(Failure) {
    if let problem = problem(for: configuration) ?? (withLabels ? labelProblem(for: configuration) : nil) {
      throw Failure(.badData, at: name, problem)
    }
  }
}

extension Label {
  /// Whether a model with as many outputs has a loss for it.
  fileprivate func fits(outputs: Int, isMultiLabel: Bool) -> Bool {
    switch self {
    case .category(let index): !isMultiLabel && outputs > 1 && (0..<outputs).contains(index)
    case .categories(let indices): outputs > 1 && indices.allSatisfy((0..<outputs).contains)
    case .score(let value): !isMultiLabel && outputs == 1 && value.isFinite
    case .unknown: false
    }
  }
}
