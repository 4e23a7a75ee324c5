import FileSystem
import Tokenization

extension GLUETask {
  /// The rows of a table of this task, in memory of at most eight times the table's size beside the table.
  ///
  /// Columns are found by their names in the header, in any order; others may be there. The names are those of GLUE's own
  /// files or those that `datasets` exports.
  /// `path` names the table in messages. A table of a test split, for which `requiresLabels` is false, may lack the label
  /// column or have -1 in it: those rows get `.unknown` labels. Throws `.badData` with file, line and column.
  public func parse(
    _ bytes: [UInt8], path: String, requiresLabels: Bool = true
  ) throws(Failure) -> SentencePairs {
    var table = try TableReader(bytes, path: path)
    let columns = try Columns(of: &table, task: self, requiresLabels: requiresLabels)
    return try pairs(of: &table, columns) { (_) throws(Failure) in true }
  }

  /// Where the columns of a task are in a table.
  struct Columns {
    var names: ColumnNames
    var first: Int
    var second: Int?
    /// Nil where the table has no labels.
    var label: Int?
    var requiresLabels: Bool

    /// Reads the header, the first row of `table`.
    init(of table: inout TableReader, task: GLUETask, requiresLabels: Bool) throws(Failure) {
      guard try table.next() else { throw Failure(.badData, at: table.path, "is empty, expected a header and rows") }
      let header = table
      func find(_ name: String) throws(Failure) -> Int? {
        let found = header.fields.indices.filter { header.field($0).elementsEqual(name.utf8) }
        guard found.count <= 1 else {
          throw Failure(.badData, at: header.place(found[1]), "column \"\(name)\" is there twice")
        }
        return found.first
      }
      func require(_ name: String) throws(Failure) -> Int {
        if let column = try find(name) { return column }
        let others = header.fields.indices.prefix(6).map { quoted(header.field($0)) }.joined(separator: ", ")
        let isUnlabelled =
          name == task.labelColumn && header.fields.indices.contains { header.field($0).elementsEqual("index".utf8) }
        throw Failure(
          .badData, at: "\(header.path):1:1", "header has no column \"\(name)\", found \(others)",
          hint: isUnlabelled ? "this looks like GLUE's test.tsv, which has no labels" : nil)
      }
      var names = task.columnNames[0]
      for other in task.columnNames.reversed() where try find(other.first) != nil { names = other }
      self.names = names
      first = try require(names.first)
      if let name = names.second { second = try require(name) }
      label = requiresLabels ? try require(names.label) : try find(names.label)
      self.requiresLabels = requiresLabels
    }
  }

  /// The rows that are left in `table` and wanted.
  func pairs(
    of table: inout TableReader, _ columns: Columns, where isWanted: (TableReader) throws(Failure) -> Bool
  ) throws(Failure) -> SentencePairs {
    var pairs = SentencePairs(text: table.bytes, hasSecondSentence: columns.second != nil)
    pairs.reserveCapacity(table.mostRowsLeft)
    var isEmpty = true
    while try table.next() {
      isEmpty = false
      guard try isWanted(table) else { continue }
      try checkSentence(columns.first, columns.names.first, in: table)
      if let second = columns.second { try checkSentence(second, columns.names.second ?? "", in: table) }
      pairs.append(
        first: table.fields[columns.first], second: columns.second.map { table.fields[$0] },
        label: try columns.label.map { (column) throws(Failure) in
          try label(table.field(column), at: table.place(column), isRequired: columns.requiresLabels)
        } ?? .unknown)
    }
    guard !isEmpty else {
      throw Failure(.badData, at: table.path, "has a header and no rows, expected at least one")
    }
    return pairs
  }

  private func checkSentence(_ column: Int, _ name: String, in table: TableReader) throws(Failure) {
    guard table.field(column).contains(where: { $0 > 0x20 }) else {
      throw Failure(.badData, at: table.place(column), "\"\(name)\" is blank, expected a sentence")
    }
  }

  /// The label that `field` spells; one that is not required may be -1, as `datasets` has it in test splits.
  func label(
    _ field: ArraySlice<UInt8>, at place: @autoclosure () -> String, isRequired: Bool
  ) throws(Failure) -> Label {
    if let label = label(field) { return label }
    let isUnknown = field.elementsEqual("-1".utf8) || field.elementsEqual("-1.0".utf8)
    if isUnknown && !isRequired { return .unknown }
    throw Failure(
      .badData, at: place(), "label is \(quoted(field)), expected \(expectedLabels)",
      hint: isUnknown ? "rows without labels belong in the test split" : nil)
  }
}
