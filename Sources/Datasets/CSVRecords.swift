import System

/// Calls `body` with the fields of each row of comma-separated values, the header included, and the row's place. Read as
/// tables of one's own are; see ``OwnTables``. Throws `.badData` with file, line and column.
package func forEachCSVRecord(
  _ bytes: [UInt8], path: String, _ body: (_ fields: [[UInt8]], _ place: String) throws(Failure) -> Void
) throws(Failure) {
  var table = try CSVReader(bytes, path: path)
  while try table.next() { try body(table.fields.indices.map { Array(table.field($0)) }, table.place(0)) }
}
