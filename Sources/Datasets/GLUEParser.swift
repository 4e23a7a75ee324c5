import FileSystem
import Tokenization

extension GLUETask {
  /// The rows of a table of this task. Columns are found by their names in the header, in any order; others may be there.
  ///
  /// `path` names the table in messages. A table without the label column (GLUE's `test.tsv`) gives rows with
  /// `.unknown` labels unless `requiresLabels`. Throws `.badData` with file, line and column.
  public func parse(
    _ bytes: [UInt8], path: String, requiresLabels: Bool = true
  ) throws(Failure) -> [SentencePair] {
    let table = try Table(bytes, path: path)
    let columns = try Columns(of: table, task: self, requiresLabels: requiresLabels)
    return try pairs(of: table.rows.dropFirst(), in: table, columns)
  }

  /// Where the columns of a task are in a table.
  struct Columns {
    var first: Int
    var second: Int?
    /// Nil where the table has no labels.
    var label: Int?

    init(of table: Table, task: GLUETask, requiresLabels: Bool) throws(Failure) {
      let header = table.rows[0]
      let names = header.fields.indices.map { Array(table.field(header, $0)) }
      func find(_ name: String) throws(Failure) -> Int? {
        let found = names.indices.filter { names[$0].elementsEqual(name.utf8) }
        guard found.count <= 1 else {
          throw Failure(.badData, at: table.place(header, found[1]), "column \"\(name)\" is there twice")
        }
        return found.first
      }
      func require(_ name: String) throws(Failure) -> Int {
        if let column = try find(name) { return column }
        let isUnlabelled = name == task.labelColumn && names.contains(Array("index".utf8))
        throw Failure(
          .badData, at: "\(table.path):1:1",
          "header has no column \"\(name)\", found \(names.prefix(6).map { quoted($0) }.joined(separator: ", "))",
          hint: isUnlabelled ? "this looks like GLUE's test.tsv, which has no labels" : nil)
      }
      first = try require(task.firstColumn)
      if let name = task.secondColumn { second = try require(name) }
      label = requiresLabels ? try require(task.labelColumn) : try find(task.labelColumn)
      guard table.rows.count > 1 else {
        throw Failure(.badData, at: table.path, "has a header and no rows, expected at least one")
      }
    }
  }

  func pairs(
    of rows: some Sequence<Table.Row>, in table: Table, _ columns: Columns
  ) throws(Failure) -> [SentencePair] {
    var pairs: [SentencePair] = []
    for row in rows {
      let second: [UInt8]? = if let column = columns.second { try sentence(row, column, in: table) } else { nil }
      pairs.append(
        SentencePair(
          first: try sentence(row, columns.first, in: table), second: second,
          label: try columns.label.map { column throws(Failure) in try label(row, column, in: table) } ?? .unknown))
    }
    return pairs
  }

  private func sentence(_ row: Table.Row, _ column: Int, in table: Table) throws(Failure) -> [UInt8] {
    let field = table.field(row, column)
    guard field.contains(where: { $0 > 0x20 }) else {
      let name = String(decoding: table.field(table.rows[0], column), as: UTF8.self)
      throw Failure(.badData, at: table.place(row, column), "\"\(name)\" is blank, expected a sentence")
    }
    return Array(field)
  }

  private func label(_ row: Table.Row, _ column: Int, in table: Table) throws(Failure) -> Label {
    let field = table.field(row, column)
    if let label = label(field) { return label }
    throw Failure(
      .badData, at: table.place(row, column), "label is \(quoted(field)), expected \(expectedLabels)")
  }
}
