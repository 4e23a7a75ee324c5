import FileSystem
import Tokenization

/// A table of tab-separated text: rows end with LF or CRLF and nothing else, quotes are text, every byte counts.
///
/// A row that is not as it should be is refused with file, line and column (in bytes, from 1), never skipped: a standard
/// CSV reader silently joins the rows of MRPC whose quotes are not paired.
struct Table {
  /// One row: its line in the file, from 1, and where its fields are in ``bytes``.
  struct Row {
    var line: Int
    var fields: [Range<Int>]
  }

  let path: String
  let bytes: [UInt8]
  private(set) var rows: [Row] = []

  /// Cuts `bytes`, the content of `path`, into rows of equally many fields.
  init(_ bytes: [UInt8], path: String) throws(Failure) {
    self.path = path
    self.bytes = bytes
    let start = try Self.contentStart(of: bytes, path: path)
    try Self.checkText(bytes, path: path)
    var lineStart = start
    var line = 1
    while lineStart < bytes.count {
      let newline = bytes[lineStart...].firstIndex(of: 0x0A) ?? bytes.count
      var lineEnd = newline
      if lineEnd > lineStart && bytes[lineEnd - 1] == 0x0D { lineEnd -= 1 }
      try appendRow(lineStart..<lineEnd, line: line)
      lineStart = newline + 1
      line += 1
    }
  }

  /// The bytes of a field.
  func field(_ row: Row, _ column: Int) -> ArraySlice<UInt8> { bytes[row.fields[column]] }

  /// `path:line:column` of a field.
  func place(_ row: Row, _ column: Int) -> String {
    "\(path):\(row.line):\(row.fields[column].lowerBound - lineStart(row) + 1)"
  }

  private func lineStart(_ row: Row) -> Int { row.fields[0].lowerBound }

  private mutating func appendRow(_ range: Range<Int>, line: Int) throws(Failure) {
    guard !range.isEmpty else {
      throw Failure(.badData, at: "\(path):\(line):1", "is a blank line, expected \(expectedFields)")
    }
    var fields: [Range<Int>] = []
    fields.reserveCapacity(rows.first?.fields.count ?? 8)
    var fieldStart = range.lowerBound
    for index in range {
      if bytes[index] == 0x09 {
        fields.append(fieldStart..<index)
        fieldStart = index + 1
      } else if bytes[index] == 0x0D {
        throw Failure(
          .badData, at: "\(path):\(line):\(index - range.lowerBound + 1)",
          "carriage return inside a row, expected rows that end with LF or CRLF")
      }
    }
    fields.append(fieldStart..<range.upperBound)
    if let expected = rows.first?.fields.count, fields.count != expected {
      // The column is where the first surplus field starts, or where the row ends too early.
      let index = fields.count > expected ? fields[expected].lowerBound : range.upperBound
      throw Failure(
        .badData, at: "\(path):\(line):\(index - range.lowerBound + 1)",
        "has \(fields.count) tab-separated field\(fields.count == 1 ? "" : "s"), expected \(expected) as in the header")
    }
    rows.append(Row(line: line, fields: fields))
  }

  private var expectedFields: String { rows.first.map { "\($0.fields.count) tab-separated fields" } ?? "a header" }

  /// Where the text begins, behind a byte order mark; refuses what is another kind of file altogether.
  private static func contentStart(of bytes: [UInt8], path: String) throws(Failure) -> Int {
    let kinds: [(start: [UInt8], name: String)] = [
      ([0x1F, 0x8B], "gzip data"), ([0x50, 0x4B, 0x03, 0x04], "a zip archive"), ([0xFF, 0xFE], "UTF-16 text"),
      ([0xFE, 0xFF], "UTF-16 text"),
    ]
    if let kind = kinds.first(where: { bytes.starts(with: $0.start) }) {
      throw Failure(.badData, at: path, "is \(kind.name), expected tab-separated UTF-8 text")
    }
    let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    guard bytes.count > start else { throw Failure(.badData, at: path, "is empty, expected a header and rows") }
    let opening = bytes[start...].prefix(64).drop { $0 <= 0x20 }.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
    if ["<!doctype", "<html", "<?xml"].contains(where: { opening.starts(with: $0.utf8) }) {
      throw Failure(
        .badData, at: path, "is a web page, expected tab-separated text", hint: "the download may have failed")
    }
    return start
  }

  private static func checkText(_ bytes: [UInt8], path: String) throws(Failure) {
    if let bad = bytes.withUnsafeBufferPointer(firstInvalidUTF8) {
      throw Failure(.badData, at: place(of: bad, in: bytes, path: path), "byte \(hex(bytes[bad])) is not UTF-8")
    }
    if let bad = bytes.firstIndex(of: 0) {
      throw Failure(.badData, at: place(of: bad, in: bytes, path: path), "NUL byte, expected text")
    }
  }

  private static func place(of index: Int, in bytes: [UInt8], path: String) -> String {
    let line = bytes[..<index].count { $0 == 0x0A } + 1
    var lineStart = bytes[..<index].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    if lineStart == 0 && bytes.starts(with: [0xEF, 0xBB, 0xBF]) { lineStart = 3 }
    return "\(path):\(line):\(index - lineStart + 1)"
  }

  private static func hex(_ byte: UInt8) -> String {
    "0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
  }
}
