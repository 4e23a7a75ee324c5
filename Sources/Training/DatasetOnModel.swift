import BERT
import Datasets
import FileSystem

extension TokenizedDataset {
  /// Whether every index in the rows is one that `configuration` has a row or an output for: the kernels do not check.
  func problem(for configuration: BertConfiguration) -> String? {
    if largestID >= configuration.vocabularySize {
      return "token id \(largestID), expected less than \(configuration.vocabularySize) (\"vocab_size\")"
    }
    if largestType >= configuration.tokenTypes {
      return "token type \(largestType), expected less than \(configuration.tokenTypes) (\"type_vocab_size\")"
    }
    if longestRow > configuration.maximumPositions {
      return "a row of \(longestRow) tokens, expected at most \(configuration.maximumPositions) "
        + "(\"max_position_embeddings\")"
    }
    return nil
  }

  /// Why the rows cannot be compared with outputs of a model of `configuration`; nil where each has a label of its kind.
  func labelProblem(for configuration: BertConfiguration) -> String? {
    guard let row = labels.firstIndex(where: { !$0.fits(outputs: configuration.labels) }) else { return nil }
    if labels[row] == .unknown { return "row \(row) has no label, expected a split with labels" }
    return "row \(row) has the label \(labels[row]), the model has \(configuration.labels) outputs"
  }

  /// Throws `.badData` where a model of `configuration` cannot take the rows, or `withLabels` its loss their labels.
  public func check(against configuration: BertConfiguration, withLabels: Bool = true) throws(Failure) {
    if let problem = problem(for: configuration) ?? (withLabels ? labelProblem(for: configuration) : nil) {
      throw Failure(.badData, problem)
    }
  }
}

extension Label {
  /// Whether a model with as many outputs has a loss for it.
  fileprivate func fits(outputs: Int) -> Bool {
    switch self {
    case .category(let index): outputs > 1 && (0..<outputs).contains(index)
    case .score(let value): outputs == 1 && value.isFinite
    case .unknown: false
    }
  }
}
