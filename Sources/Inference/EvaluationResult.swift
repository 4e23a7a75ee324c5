import JSON
import Reporting
import System
import Training

/// A model's outputs on labelled rows.
public struct MeasuredModel: Sendable {
  public var path: String
  /// What the rows are called.
  public var data: String
  public var labels: ModelLabels
  public var metric: TaskMetric
  public var evaluation: Evaluation

  public init(path: String, data: String, labels: ModelLabels, metric: TaskMetric, evaluation: Evaluation) {
    self.path = path
    self.data = data
    self.labels = labels
    self.metric = metric
    self.evaluation = evaluation
  }
}

/// What an evaluation found, with intervals, and in comparison with another model.
public struct EvaluationResult: Sendable {
  public let model: MeasuredModel
  public let values: [MetricValue]
  /// By figure; nil where it is not defined, or no rows were drawn.
  public let intervals: [ClosedRange<Double>?]
  public let bootstrap: Bootstrap
  public let comparison: Comparison?

  /// Another model on the same rows.
  public struct Comparison: Sendable {
    public let model: MeasuredModel
    public let values: [MetricValue]
    /// Of what the first model's figures are more than the other's.
    public let intervals: [ClosedRange<Double>?]
    /// Nil for a regression, which is never just right.
    public let test: McNemarTest?
  }

  /// - Parameter other: with the same labels, on the same rows.
  public init(_ model: MeasuredModel, against other: MeasuredModel? = nil, _ bootstrap: Bootstrap) throws(Failure) {
    self.model = model
    self.bootstrap = bootstrap
    let rows = model.evaluation.rows
    values = try model.evaluation.compute(model.metric)
    intervals = try bootstrap.intervals(of: rows, model.metric)
    guard let other else {
      comparison = nil
      return
    }
    let others = other.evaluation.rows
    guard others.labels == rows.labels else {
      throw Failure(.badData, at: other.path, "was measured on other rows than \(model.path), expected the same")
    }
    comparison = Comparison(
      model: other, values: try other.evaluation.compute(model.metric),
      intervals: try bootstrap.intervals(of: rows, minus: others, model.metric),
      test: model.labels.problem == .regression ? nil : McNemarTest(first: rows.areRight, second: others.areRight))
  }

  // MARK: For people

  public var lines: [String] {
    let names = values.map(\.name) + ["loss"]
    let width = (names.map(\.count).max() ?? 0) + 2
    func padded(_ text: String) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }
    var lines = [
      padded("model") + model.path, padded("data") + "\(model.data), \(grouped(model.evaluation.examples)) rows",
    ]
    for (value, interval) in zip(values, intervals) {
      lines.append(padded(value.name) + shown(value.value) + shown(interval))
    }
    lines.append(padded("loss") + shown(model.evaluation.loss))
    if intervals.contains(where: { $0 != nil }) {
      lines.append("intervals: 95 %, \(grouped(bootstrap.resamples)) bootstrap resamples, seed \(bootstrap.seed)")
    }
    return lines + matrixLines + comparisonLines
  }

  private func shown(_ value: Double) -> String { value.isNaN ? "not defined" : formatted(value, digits: 4) }

  private func shown(_ interval: ClosedRange<Double>?) -> String {
    interval.map { "  [\(formatted($0.lowerBound, digits: 4)), \(formatted($0.upperBound, digits: 4))]" } ?? ""
  }

  private var matrixLines: [String] {
    let names = model.labels.names
    switch model.labels.problem {
    case .regression: return []
    case .singleLabel:
      let matrix = ConfusionMatrix(model.evaluation.rows).lines
      return ["confusion matrix: a line for each true class, a column for each predicted one"]
        + table([[""] + names] + zip(names, matrix).map { [$0] + $1.map { "\($0)" } })
    case .multiLabel:
      return ["classes: rows that have it and are told so, told so wrongly, missed, neither"]
        + table(
          [["", "right", "wrong", "missed", "neither"]]
            + zip(names, ConfusionMatrix.perClass(model.evaluation.rows)).map { name, table in
              [name, "\(table[1][1])", "\(table[0][1])", "\(table[1][0])", "\(table[0][0])"]
            })
    }
  }

  /// Cells in columns: names to the left, numbers to the right.
  private func table(_ rows: [[String]]) -> [String] {
    let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      row.enumerated().map { column, cell in
        let blanks = String(repeating: " ", count: widths[column] - cell.count)
        return column == 0 ? cell + blanks : blanks + cell
      }.joined(separator: "  ")
    }
  }

  private var comparisonLines: [String] {
    guard let comparison else { return [] }
    var lines = ["against \(comparison.model.path):"]
    for (index, value) in comparison.values.enumerated() {
      lines.append(
        "  \(value.name) \(shown(value.value)), this model's is \(signed(values[index].value - value.value)) more"
          + shown(comparison.intervals[index]))
    }
    guard let test = comparison.test else { return lines }
    let way = test.isExact ? "exact binomial" : "χ² with continuity correction, \(shown(test.statistic ?? .nan))"
    return lines + [
      "  right alone: this model on \(grouped(test.onlyFirst)) rows, the other on \(grouped(test.onlySecond))",
      "  McNemar's test: p = \(test.pValue < 0.0001 ? scientific(test.pValue) : formatted(test.pValue, digits: 4)) (\(way))",
    ]
  }

  private func signed(_ value: Double) -> String { (value < 0 ? "" : "+") + shown(value) }

  // MARK: For programs

  public var json: JSONText {
    var members: [(key: String, value: JSONText)] = [
      ("model", .string(model.path)), ("data", .string(model.data)), ("rows", .int(model.evaluation.examples)),
      ("loss", number(model.evaluation.loss)), ("metrics", figures(values)), ("intervals", ranges(intervals)),
      (
        "bootstrap",
        .object([
          ("resamples", .int(bootstrap.resamples)), ("seed", .int(Int(bitPattern: UInt(bootstrap.seed)))),
          ("confidence", .double(bootstrap.confidence)),
        ])
      ),
      ("labels", .array(model.labels.names.map { .string($0) })),
    ]
    switch model.labels.problem {
    case .regression: break
    case .singleLabel:
      members.append(("confusion_matrix", numbers(ConfusionMatrix(model.evaluation.rows).lines)))
    case .multiLabel:
      members.append(
        ("multilabel_confusion_matrix", .array(ConfusionMatrix.perClass(model.evaluation.rows).map(numbers))))
    }
    if let comparison { members.append(("against", json(comparison))) }
    return .object(members)
  }

  private func json(_ comparison: Comparison) -> JSONText {
    var members: [(key: String, value: JSONText)] = [
      ("model", .string(comparison.model.path)), ("metrics", figures(comparison.values)),
      (
        "differences",
        figures(zip(values, comparison.values).map { MetricValue($0.name, $0.value - $1.value) })
      ),
      ("difference_intervals", ranges(comparison.intervals)),
    ]
    if let test = comparison.test {
      members.append(
        (
          "mcnemar",
          .object([
            ("only_first", .int(test.onlyFirst)), ("only_second", .int(test.onlySecond)),
            ("method", .string(test.isExact ? "exact" : "chi2")),
            ("statistic", test.statistic.map(number) ?? .null), ("p_value", number(test.pValue)),
          ])
        ))
    }
    return .object(members)
  }

  private func number(_ value: Double) -> JSONText { value.isFinite ? .double(value) : .null }

  private func figures(_ values: [MetricValue]) -> JSONText { .object(values.map { ($0.name, number($0.value)) }) }

  private func ranges(_ ranges: [ClosedRange<Double>?]) -> JSONText {
    .object(
      zip(values, ranges).map { value, range in
        (value.name, range.map { .array([number($0.lowerBound), number($0.upperBound)]) } ?? .null)
      })
  }

  private func numbers(_ lines: [[Int]]) -> JSONText { .array(lines.map { .array($0.map { .int($0) }) }) }
}
