import System
import Tokenization

/// The formats in which tables are read.
public enum TableFormat: String, Sendable, CaseIterable {
  case tsv, csv
  case jsonLines = "jsonl"

  /// The format of a file by its name: `.tsv`, `.csv`, `.jsonl`, or `.json`, which `datasets` writes with an object a
  /// line too. Throws `.usage`.
  public init(ofFile path: String) throws(Failure) {
    let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    let suffix = name.contains(".") ? name.split(separator: ".", omittingEmptySubsequences: false).last ?? "" : ""
    switch suffix.lowercased() {
    case "tsv": self = .tsv
    case "csv": self = .csv
    case "jsonl", "json": self = .jsonLines
    default:
      throw Failure(.usage, at: path, "a file of unknown format, expected a name that ends with .tsv, .csv or .jsonl")
    }
  }
}

/// Which columns of a table hold what, and what its labels may be.
struct RowSchema: Sendable, Equatable {
  /// What a table may call its columns.
  struct Columns: Sendable, Equatable {
    var first: String
    var second: String?
    var label: String
  }

  /// In order of preference; not empty.
  var alternatives: [Columns]
  var labels: TaskLabels
  /// Where tables have no header.
  var positions: GLUETask.Positions?
  /// Whether rows with too few cells are left out, and sentences may be blank.
  var hasBrokenRows = false
  /// Whether a label may be a class's number instead of its name.
  var takesClassNumbers = false
  /// Between the classes of a row in tables of text.
  var separator: UInt8?

  init(_ alternatives: [Columns], labels: TaskLabels) {
    precondition(!alternatives.isEmpty, "a schema without columns")
    self.alternatives = alternatives
    self.labels = labels
  }

  var hasSecondSentence: Bool { alternatives[0].second != nil }

  /// The rows of a table. Throws `.badData` with file, line and column.
  func parse(
    _ bytes: [UInt8], path: String, _ format: TableFormat, requiresLabels: Bool
  ) throws(Failure) -> SentencePairs {
    switch format {
    case .jsonLines: return try parseLines(bytes, path: path, requiresLabels: requiresLabels)
    case .tsv:
      var table = try TableReader(bytes, path: path, allowsShortRows: hasBrokenRows)
      return try pairs(of: &table, requiresLabels: requiresLabels)
    case .csv:
      var table = try CSVReader(bytes, path: path)
      return try pairs(of: &table, requiresLabels: requiresLabels)
    }
  }

  private func pairs(of table: inout some RowReader, requiresLabels: Bool) throws(Failure) -> SentencePairs {
    let columns = try FoundColumns(of: &table, schema: self, requiresLabels: requiresLabels)
    return try pairs(of: &table, columns) { (_) throws(Failure) in true }
  }

  /// The rows that are left in `table` and wanted.
  func pairs<Table: RowReader>(
    of table: inout Table, _ columns: FoundColumns, where isWanted: (Table) throws(Failure) -> Bool
  ) throws(Failure) -> SentencePairs {
    var pairs = SentencePairs(hasSecondSentence: columns.second != nil)
    pairs.reserveCapacity(table.mostRowsLeft)
    var isEmpty = true
    var hasRow = try columns.firstRowIsData ? true : table.next()
    while hasRow {
      isEmpty = false
      if table.fields.count < columns.fieldCount {
        pairs.rowsLeftOut += 1
      } else if try isWanted(table) {
        try append(table, columns, to: &pairs)
      }
      hasRow = try table.next()
    }
    guard !isEmpty else {
      throw Failure(.badData, at: table.path, "has a header and no rows, expected at least one")
    }
    pairs.text = table.bytes
    return pairs
  }

  private func append(
    _ table: some RowReader, _ columns: FoundColumns, to pairs: inout SentencePairs
  ) throws(Failure) {
    try checkSentence(columns.first, columns.names.first, in: table)
    if let second = columns.second { try checkSentence(second, columns.names.second ?? "", in: table) }
    pairs.append(
      first: table.fields[columns.first], second: columns.second.map { table.fields[$0] },
      label: try columns.label.map { (column) throws(Failure) in
        try label(table.field(column), at: table.place(column), isRequired: columns.requiresLabels)
      } ?? .unknown)
  }

  private func checkSentence(_ column: Int, _ name: String, in table: some RowReader) throws(Failure) {
    guard hasBrokenRows || table.field(column).contains(where: { $0 > 0x20 }) else {
      throw Failure(.badData, at: table.place(column), "\"\(name)\" is blank, expected a sentence")
    }
  }

  /// The label that `field` spells; one that is not required may be -1, as `datasets` has it in test splits.
  func label(
    _ field: ArraySlice<UInt8>, at place: @autoclosure () -> String, isRequired: Bool
  ) throws(Failure) -> Label {
    if case .classSets = labels, let separator {
      let parts = field.isEmpty ? [] : field.split(separator: separator, omittingEmptySubsequences: false)
      return try set(of: parts, at: place())
    }
    if let label = labels.label(field) ?? numbered(field) { return label }
    let isUnknown = field.elementsEqual("-1".utf8) || field.elementsEqual("-1.0".utf8)
    if isUnknown && !isRequired { return .unknown }
    throw Failure(
      .badData, at: place(), "label is \(quoted(field)), expected \(labels.expected)",
      hint: isUnknown ? "rows without labels belong in the test split" : nil)
  }

  private func numbered(_ field: ArraySlice<UInt8>) -> Label? {
    guard takesClassNumbers, isDecimal(field, isWhole: true), let number = Int(String(decoding: field, as: UTF8.self)),
      (0..<labels.outputs).contains(number)
    else { return nil }
    return .category(number)
  }

  /// The set of classes that `parts` spell, each once.
  func set(of parts: [ArraySlice<UInt8>], at place: @autoclosure () -> String) throws(Failure) -> Label {
    var classes: [Int] = []
    for part in parts {
      guard case .categories(let found) = labels.label(part), let found = found.first else {
        throw Failure(.badData, at: place(), "label is \(quoted(part)), expected \(labels.expected)")
      }
      guard !classes.contains(found) else {
        throw Failure(.badData, at: place(), "label \(quoted(part)) is there twice, expected each class once")
      }
      classes.append(found)
    }
    return .categories(classes.sorted())
  }
}

/// Where the columns of a schema are in a table.
struct FoundColumns {
  var names: RowSchema.Columns
  var first: Int
  var second: Int?
  /// Nil where the table has no labels.
  var label: Int?
  var requiresLabels: Bool
  /// The fields of a whole row.
  var fieldCount: Int
  /// Whether the table has no header, so that the row that was read is one of the rows.
  var firstRowIsData = false

  /// Reads the header, the first row of `table`.
  init(of table: inout some RowReader, schema: RowSchema, requiresLabels: Bool) throws(Failure) {
    guard try table.next() else { throw Failure(.badData, at: table.path, "is empty, expected a header and rows") }
    let header = table
    self.requiresLabels = requiresLabels
    fieldCount = header.fields.count
    var names = schema.alternatives[0]
    var isNamed = false
    // The first alternative whose sentences and label are there; else the first whose sentences are.
    for other in schema.alternatives.reversed() where try header.find(other.first) != nil {
      (names, isNamed) = (other, true)
    }
    for other in schema.alternatives.reversed() {
      guard try header.find(other.first) != nil, try header.find(other.label) != nil else { continue }
      names = other
    }
    self.names = names
    if let positions = schema.positions, !isNamed, positions.count == header.fields.count {
      (first, second, label) = (positions.first, nil, positions.label)
      firstRowIsData = true
      return
    }
    first = try header.require(names.first, labelName: names.label)
    if let name = names.second { second = try header.require(name, labelName: names.label) }
    label =
      requiresLabels ? try header.require(names.label, labelName: names.label) : try header.find(names.label)
  }
}

extension RowReader {
  /// The column of the header that is called `name`.
  func find(_ name: String) throws(Failure) -> Int? {
    let found = fields.indices.filter { field($0).elementsEqual(name.utf8) }
    guard found.count <= 1 else {
      throw Failure(.badData, at: place(found[1]), "column \"\(name)\" is there twice")
    }
    return found.first
  }

  /// - Parameter labelName: the name of the label column, whose absence has a reason of its own.
  func require(_ name: String, labelName: String?, hint: String? = nil) throws(Failure) -> Int {
    if let column = try find(name) { return column }
    let others = fields.indices.prefix(6).map { quoted(field($0)) }.joined(separator: ", ")
    let isUnlabelled = name == labelName && fields.indices.contains { field($0).elementsEqual("index".utf8) }
    throw Failure(
      .badData, at: "\(path):1:1", "header has no column \"\(name)\", found \(others)",
      hint: hint ?? (isUnlabelled ? "this looks like GLUE's test.tsv, which has no labels" : nil))
  }
}
