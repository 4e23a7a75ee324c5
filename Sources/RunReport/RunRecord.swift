import Datasets
import Inference
import JSON
import Reporting
import System
import Training

/// Everything that a report shows of a run.
public struct RunRecord: Sendable {
  /// A step with what it took, beside what the metrics file says of it.
  public struct Step: Sendable {
    public var record: StepRecord
    /// Rows of all ranks.
    public var rows: Int
    public var seconds: Double

    public init(_ record: StepRecord, rows: Int, seconds: Double) {
      self.record = record
      self.rows = rows
      self.seconds = seconds
    }
  }

  /// A value that the run was made with, and who said so.
  public struct Setting: Sendable, Equatable {
    public var name: String
    public var value: String
    /// An option's name, `default`, `config.json`.
    public var origin: String

    public init(_ name: String, _ value: String, _ origin: String) {
      self.name = name
      self.value = value
      self.origin = origin
    }
  }

  /// Where a rank's time went.
  public struct RankTime: Sendable {
    public var rank: Int
    public var host: String
    /// Seconds by kind, in the order of all ranks.
    public var seconds: [(kind: String, seconds: Double)]

    public init(rank: Int, host: String, seconds: [(kind: String, seconds: Double)]) {
      self.rank = rank
      self.host = host
      self.seconds = seconds
    }
  }

  /// A row that the model is wrong about.
  public struct Mistake: Sendable {
    /// From 1.
    public var row: Int
    public var texts: [String]
    public var label: String
    public var answer: String
    /// Of the answer.
    public var probability: Float
  }

  public var title: String
  public var steps: [Step] = []
  public var evaluations: [EvaluationRecord] = []
  /// The names of the figures to draw.
  public var metricNames: [String] = []
  public var labels: ModelLabels
  public var confusion: ConfusionMatrix?
  public var mistakes: [Mistake] = []
  public var times: [RankTime] = []
  public var settings: [Setting] = []
  public var versions: [(name: String, value: String)] = []
  /// The words that start the same run.
  public var command: [String] = []

  public init(title: String, labels: ModelLabels) {
    self.title = title
    self.labels = labels
  }

  /// Takes the confusion matrix and the most confident mistakes from the last evaluation.
  ///
  /// - Parameter texts: the rows' texts, in the same order.
  public mutating func take(_ rows: EvaluatedRows, texts: some RandomAccessCollection<SentencePair>) {
    guard labels.problem == .singleLabel else { return }
    confusion = ConfusionMatrix(rows)
    let names = labels.names
    let wrong = rows.labels.enumerated().compactMap { row, label -> (row: Int, label: Int, answer: Answer)? in
      guard case .category(let index) = label, rows.predictedClass(row) != index else { return nil }
      return (row, index, Answer(logits: rows.logits[row * rows.outputs..<(row + 1) * rows.outputs], .singleLabel))
    }
    let most = wrong.sorted { ($0.answer.scores[0], $1.row) > ($1.answer.scores[0], $0.row) }.prefix(20)
    mistakes = most.map { row, label, answer in
      let pair = texts[texts.index(texts.startIndex, offsetBy: row)]
      let shown = ([pair.first] + (pair.second.map { [$0] } ?? [])).map {
        String(decoding: $0.prefix(2000), as: UTF8.self)
      }
      return Mistake(
        row: row + 1, texts: shown, label: names[label], answer: names[answer.labels[0]], probability: answer.scores[0])
    }
  }

  /// What `report` reads of a run to compare it with others: figures, settings, and the speed.
  public var summary: JSONText {
    func number(_ value: Double) -> JSONText { value.isFinite ? .double(value) : .null }
    let evaluations = self.evaluations.map { record in
      JSONText.object(
        [("epoch", number(record.epoch)), ("step", .int(record.step)), ("loss", number(record.loss))]
          + record.values.map { ($0.name, number($0.value)) })
    }
    return .object([
      ("format", .string(Self.format)), ("title", .string(title)),
      ("metrics", .array(metricNames.map { .string($0) })), ("evaluations", .array(evaluations)),
      ("examples_per_second", number(examplesPerSecond)),
      (
        "settings",
        .array(
          settings.map {
            .object([("name", .string($0.name)), ("value", .string($0.value)), ("origin", .string($0.origin))])
          })
      ),
    ])
  }

  static let format = "lockstep run 1"

  /// Rows a second of all steps together.
  public var examplesPerSecond: Double {
    let seconds = steps.reduce(0) { $0 + $1.seconds }
    return seconds > 0 ? Double(steps.reduce(0) { $0 + $1.rows }) / seconds : 0
  }
}
