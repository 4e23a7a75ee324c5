import Datasets
import Reporting
import System
import Training

/// How often each class occurs, or how scores are spread: shown at the start.
func labelFacts(_ dataset: TokenizedDataset, _ labels: TaskLabels, names: [String]) -> (name: String, value: String) {
  switch labels {
  case .scores:
    let scores = dataset.labels.compactMap { if case .score(let value) = $0 { value } else { nil } }
    let mean = scores.reduce(0) { $0 + Double($1) } / Double(max(1, scores.count))
    return (
      "scores", "\(scores.min() ?? 0) to \(scores.max() ?? 0), mean \(formatted(mean, digits: 3)) (regression)"
    )
  case .classes, .classSets:
    var counts = [Int](repeating: 0, count: labels.outputs)
    for label in dataset.labels {
      switch label {
      case .category(let index): counts[index] += 1
      case .categories(let indices): for index in indices { counts[index] += 1 }
      case .score, .unknown: break
      }
    }
    let shown = 20
    var parts = zip(names, counts).prefix(shown).map { name, count in
      "\(name) \(grouped(count)) (\(formatted(100 * Double(count) / Double(max(1, dataset.count)), digits: 1)) %)"
    }
    if counts.count > shown { parts.append("\(grouped(counts.count - shown)) more") }
    return ("classes", parts.joined(separator: ", ") + (labels.problem == .multiLabel ? ", any number a row" : ""))
  }
}

/// What always giving the same answer gets: the class that most rows have, no class at all, or the mean score.
func constantGuess(_ dataset: TokenizedDataset, _ labels: TaskLabels) -> (name: String, rows: EvaluatedRows) {
  let outputs = labels.outputs
  let name: String
  let answer: [Float]
  switch labels {
  case .classes:
    var counts = [Int](repeating: 0, count: outputs)
    for case .category(let index) in dataset.labels { counts[index] += 1 }
    let most = counts.max() ?? 0
    let guess = counts.lastIndex(of: most) ?? 0
    name = "always guessing the majority"
    answer = (0..<outputs).map { $0 == guess ? 1 : 0 }
  case .classSets:
    name = "never guessing a class"
    answer = Array(repeating: -1, count: outputs)
  case .scores:
    let scores = dataset.labels.compactMap { if case .score(let value) = $0 { Double(value) } else { nil } }
    name = "always guessing the mean"
    answer = [Float(scores.reduce(0, +) / Double(max(1, scores.count)))]
  }
  let logits = (0..<dataset.count).flatMap { _ in answer }
  return (name, EvaluatedRows(outputs: outputs, logits: logits, labels: dataset.labels))
}

/// How a metric is called where a person reads it.
func title(_ metric: String) -> String {
  let titles = [
    "f1": "F1", "f1_macro": "macro F1", "f1_micro": "micro F1", "matthews_correlation": "Matthews correlation",
    "pearson": "Pearson correlation", "spearmanr": "Spearman correlation", "mse": "mean squared error",
    "accuracy_mm": "mismatched accuracy",
  ]
  return titles[metric] ?? metric
}

/// Whether a metric is a share of the rows, shown in percent.
func isShare(_ metric: String) -> Bool { metric.hasPrefix("accuracy") || metric.hasPrefix("f1") }

/// `accuracy 68.38 %, F1 81.22 %`.
func scores(_ values: [MetricValue]) -> String {
  values.map { value in
    let number =
      value.value.isNaN
      ? "not defined"
      : isShare(value.name) ? formatted(100 * value.value, digits: 2) + " %" : formatted(value.value, digits: 4)
    return "\(title(value.name)) \(number)"
  }.joined(separator: ", ")
}
