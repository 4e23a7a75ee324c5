import System

/// A task of the GLUE benchmark: which columns of its tables hold what.
public struct GLUETask: Sendable, Equatable {
  /// The name on the command line: that of `load_dataset("glue", …)`.
  public var name: String
  public var firstColumn: String
  /// Nil in tasks of single sentences.
  public var secondColumn: String?
  public var labelColumn: String
  public var labels: TaskLabels
  /// What the classes mean, in order; saved with a model. Empty for scores.
  public var labelNames: [String]
  /// The names of the metrics to report, in order.
  public var metrics: [String]
  /// The rows that GLUE's own files have, by split.
  public var officialRowCounts: [Split: Int]
  /// The names in exports of `load_dataset("glue", …)`, where they are other than most tasks'.
  var ownExportedColumns: RowSchema.Columns?
  /// Where GLUE's own files have no header: the fields of a row.
  var positions: Positions?
  /// GLUE's own files have rows with too few cells, which `datasets` leaves out, and blank sentences, which it keeps.
  var hasBrokenRows = false
  /// The stems of the files of each split, GLUE's own first.
  var fileStems: [Split: [String]]

  /// The fields of a row of a file without header.
  struct Positions: Sendable, Equatable {
    var count: Int
    var first: Int
    var label: Int
  }

  /// A task of classes or scores over one column of sentences or two.
  public init(
    name: String, firstColumn: String, secondColumn: String?, labelColumn: String, labels: TaskLabels,
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
    fileStems = [.train: ["train"], .validation: ["dev", "validation"], .test: ["test"]]
  }

  /// How rows of its tables are read: the columns' names in GLUE's own files, then those in exports of
  /// `load_dataset("glue", …)` and of SetFit's copies.
  var schema: RowSchema {
    var alternatives = [RowSchema.Columns(first: firstColumn, second: secondColumn, label: labelColumn)]
    if let ownExportedColumns { alternatives.append(ownExportedColumns) }
    let exported =
      secondColumn == nil ? [("sentence", nil), ("text", nil)] : [("sentence1", "sentence2"), ("text1", "text2")]
    alternatives += exported.map { RowSchema.Columns(first: $0.0, second: $0.1, label: "label") }
    var schema = RowSchema(alternatives, labels: labels)
    schema.positions = positions
    schema.hasBrokenRows = hasBrokenRows
    // Exports number the classes, whatever GLUE's own files call them.
    if case .classes(let texts) = labels, texts == labelNames { schema.takesClassNumbers = true }
    return schema
  }

  /// The splits that the task has.
  public var splits: [Split] { Split.allCases.filter { fileStems[$0] != nil } }

  /// The splits of validation rows: two for MNLI.
  public var validationSplits: [Split] { splits.filter { $0 == .validation || $0 == .validationMismatched } }

  /// The task called `name`, as `load_dataset("glue", …)` or GLUE's own folder calls it: `sst2` or `SST-2`.
  public static func named(_ name: String) throws(Failure) -> GLUETask {
    let bare = name.lowercased().filter { $0 != "-" }
    if let task = all.first(where: { $0.name == bare }) { return task }
    throw Failure(.usage, "unknown task '\(name)', expected \(all.map(\.name).joined(separator: ", "))")
  }

  /// The outputs of the model's classifier: the number of classes, or 1 for scores.
  public var labelCount: Int { labels.outputs }

  /// The rows of a table of this task, in memory of at most eight times the table's size beside the table.
  ///
  /// Columns are found by their names in the header, in any order; others may be there. The names are those of GLUE's own
  /// files or those that `datasets` exports.
  /// `path` names the table in messages. A table of a test split, for which `requiresLabels` is false, may lack the label
  /// column or have -1 in it: those rows get `.unknown` labels. Throws `.badData` with file, line and column.
  public func parse(
    _ bytes: [UInt8], path: String, requiresLabels: Bool = true
  ) throws(Failure) -> SentencePairs {
    try schema.parse(bytes, path: path, .tsv, requiresLabels: requiresLabels)
  }

  /// The rows of a file of JSON lines: an object a line, as `datasets` and SetFit write them. One blank line may end it.
  ///
  /// Keys are the names of a table's columns, the same ones in every line; others may be there. A label is a number, or
  /// its text. A test split's label, for which `requiresLabels` is false, may be missing, null or -1. JSON is read
  /// strictly. Throws `.badData` with file, line and column.
  public func parseLines(
    _ bytes: [UInt8], path: String, requiresLabels: Bool = true
  ) throws(Failure) -> SentencePairs {
    try schema.parse(bytes, path: path, .jsonLines, requiresLabels: requiresLabels)
  }
}
