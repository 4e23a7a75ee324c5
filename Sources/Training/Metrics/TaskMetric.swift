import Datasets
import Reporting
import System

/// The metrics of a task, chosen by name from those that tasks of its kind can have.
public struct TaskMetric: Metric {
  /// The names to report, in order.
  public let names: [String]
  private var counter: any Metric

  /// - Parameters:
  ///   - names: nil takes the usual ones for the kind of task.
  ///   - labels: what the task's labels may be.
  /// - Throws: `.usage` for a name that is no metric, or none that such a task can have.
  public init(_ names: [String]? = nil, for labels: TaskLabels) throws(Failure) {
    let known: [String]
    switch labels {
    case .classes(let classes):
      known = ["accuracy"] + (classes.count == 2 ? ["f1"] : []) + ["f1_macro", "matthews_correlation"]
      self.names = names ?? (classes.count == 2 ? ["accuracy", "f1"] : ["accuracy", "f1_macro"])
      counter = ClassificationCounts()
    case .classSets:
      known = ["accuracy", "f1_micro", "f1_macro"]
      self.names = names ?? known
      counter = MultiLabelCounts()
    case .scores:
      known = ["pearson", "spearmanr", "mse"]
      self.names = names ?? known
      counter = RegressionScores()
    }
    for (index, name) in self.names.enumerated() {
      guard known.contains(name) else {
        throw Failure(
          .usage,
          "the metric \(name) is none that \(Self.described(labels)) can have, expected "
            + known.joined(separator: ", "))
      }
      guard !self.names[..<index].contains(name) else {
        throw Failure(.usage, "the metric \(name) is named twice, expected each once")
      }
    }
  }

  private static func described(_ labels: TaskLabels) -> String {
    switch labels {
    case .classes(let classes): "a task of \(classes.count) classes"
    case .classSets: "a task of sets of classes"
    case .scores: "a regression"
    }
  }

  public mutating func add(_ rows: EvaluatedRows) throws(Failure) { try counter.add(rows) }

  public func compute() -> [MetricValue] {
    let values = counter.compute()
    return names.compactMap { name in values.first { $0.name == name } }
  }
}
