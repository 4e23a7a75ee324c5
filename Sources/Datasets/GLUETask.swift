import FileSystem

/// A task of the GLUE benchmark: which columns of its tables hold what. A new task is one line in ``all``.
public struct GLUETask: Sendable, Equatable {
  /// The values that the label column may hold.
  public enum Labels: Sendable, Equatable {
    /// These texts and no others; the class is the text's index.
    case classes([String])
    /// A decimal number in this range.
    case scores(ClosedRange<Float>)
  }

  /// The name on the command line.
  public var name: String
  public var firstColumn: String
  /// Nil in tasks of single sentences.
  public var secondColumn: String?
  public var labelColumn: String
  public var labels: Labels
  /// What the classes mean, in order; saved with a model. Empty for scores.
  public var labelNames: [String]
  /// The names of the metrics to report, in order.
  public var metrics: [String]
  /// The rows that GLUE's own files have, by split.
  public var officialRowCounts: [Split: Int]

  /// A task of classes or scores over one column of sentences or two.
  public init(
    name: String, firstColumn: String, secondColumn: String?, labelColumn: String, labels: Labels,
    labelNames: [String] = [], metrics: [String], officialRowCounts: [Split: Int] = [:]
  ) {
    self.name = name
    self.firstColumn = firstColumn
    self.secondColumn = secondColumn
    self.labelColumn = labelColumn
    self.labels = labels
    self.labelNames = labelNames
    self.metrics = metrics
    self.officialRowCounts = officialRowCounts
  }

  public static let mrpc = GLUETask(
    name: "mrpc", firstColumn: "#1 String", secondColumn: "#2 String", labelColumn: "Quality",
    labels: .classes(["0", "1"]), labelNames: ["not_equivalent", "equivalent"], metrics: ["accuracy", "f1"],
    officialRowCounts: [.train: 3668, .validation: 408, .test: 1725])

  public static let all = [mrpc]

  /// What a table may call its columns.
  struct ColumnNames {
    var first: String
    var second: String?
    var label: String
  }

  /// The names in GLUE's own files, then those in exports of `load_dataset("glue", …)` and of SetFit's copies.
  var columnNames: [ColumnNames] {
    let exported =
      secondColumn == nil ? [("sentence", nil), ("text", nil)] : [("sentence1", "sentence2"), ("text1", "text2")]
    return [ColumnNames(first: firstColumn, second: secondColumn, label: labelColumn)]
      + exported.map { ColumnNames(first: $0.0, second: $0.1, label: "label") }
  }

  /// The task called `name`.
  public static func named(_ name: String) throws(Failure) -> GLUETask {
    if let task = all.first(where: { $0.name == name }) { return task }
    throw Failure(.usage, "unknown task '\(name)', expected \(all.map(\.name).joined(separator: ", "))")
  }

  /// The outputs of the model's classifier: the number of classes, or 1 for scores.
  public var labelCount: Int {
    switch labels {
    case .classes(let names): names.count
    case .scores: 1
    }
  }

  /// The label that `field` spells, byte for byte; nil where it is none.
  func label(_ field: ArraySlice<UInt8>) -> Label? {
    switch labels {
    case .classes(let names):
      return names.firstIndex { field.elementsEqual($0.utf8) }.map { .category($0) }
    case .scores(let range):
      // Only digits and a point: Float() would take "nan", "0x1p3" and "+1" too.
      guard field.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2E }), field.first != 0x2E,
        let value = Float(String(decoding: field, as: UTF8.self)), range.contains(value)
      else { return nil }
      return .score(value)
    }
  }

  /// The label column's values, for a message.
  var expectedLabels: String {
    switch labels {
    case .classes(let names): names.joined(separator: " or ")
    case .scores(let range): "a number from \(range.lowerBound) to \(range.upperBound)"
    }
  }
}
