import System
import Tokenization

/// A table that is read row by row, the header first.
protocol RowReader {
  var path: String { get }
  /// What ``fields`` are ranges of.
  var bytes: [UInt8] { get }
  /// Where the present row's fields are in ``bytes``.
  var fields: [Range<Int>] { get }
  /// No more rows than this are left.
  var mostRowsLeft: Int { get }
  /// `path:line:column` of a field of the present row.
  func place(_ column: Int) -> String
  /// Goes on to the next row, which has as many fields as the first; false at the end.
  mutating func next() throws(Failure) -> Bool
}

extension RowReader {
  /// The bytes of a field of the present row.
  func field(_ column: Int) -> ArraySlice<UInt8> { bytes[fields[column]] }
}

/// Reads a table of tab-separated text row by row: rows end with LF or CRLF and nothing else, quotes are text, every byte
/// counts. One blank line may end the file.
///
/// A row that is not as it should be is refused with file, line and column (in bytes, from 1), never skipped: a standard
/// CSV reader silently joins the rows of MRPC whose quotes are not paired.
struct TableReader: RowReader {
  let path: String
  let bytes: [UInt8]
  /// The present row's line in the file, from 1; 0 before the first row.
  private(set) var line = 0
  /// The present row, without its line end.
  private(set) var row = 0..<0
  /// Where the present row's fields are in ``bytes``.
  private(set) var fields: [Range<Int>] = []
  private var nextStart: Int
  /// The fields of the first row.
  private var fieldCount: Int?
  /// Whether rows may have fewer fields than the first, or more, or be blank.
  private let allowsShortRows: Bool

  /// A reader of `bytes`, the content of `path`, before the first row.
  init(_ bytes: [UInt8], path: String, allowsShortRows: Bool = false) throws(Failure) {
    self.path = path
    self.bytes = bytes
    self.allowsShortRows = allowsShortRows
    nextStart = try textStart(of: bytes, path: path, kind: "tab-separated text")
  }

  /// Goes on to the next row, which has as many fields as the first; false at the end.
  mutating func next() throws(Failure) -> Bool {
    repeat {
      guard nextStart < bytes.count else { return false }
      let newline = bytes[nextStart...].firstIndex(of: 0x0A) ?? bytes.count
      let hasReturn = newline > nextStart && bytes[newline - 1] == 0x0D
      row = nextStart..<(hasReturn ? newline - 1 : newline)
      line += 1
      nextStart = newline + 1
      if row.isEmpty && line > 1 && nextStart >= bytes.count { return false }
    } while row.isEmpty && line > 1 && allowsShortRows
    try cut()
    return true
  }

  func place(_ column: Int) -> String { place(at: fields[column].lowerBound) }

  var mostRowsLeft: Int { bytes[min(nextStart, bytes.count)...].count { $0 == 0x0A } + 1 }

  private func place(at index: Int) -> String { "\(path):\(line):\(index - row.lowerBound + 1)" }

  private mutating func cut() throws(Failure) {
    let expected = fieldCount
    guard !row.isEmpty else {
      throw Failure(
        .badData, at: place(at: row.lowerBound),
        "is a blank line, expected \(expected.map { "\($0) tab-separated fields" } ?? "a header")")
    }
    fields.removeAll(keepingCapacity: true)
    // Of surplus fields the first is kept, for its place: a row may be nothing but tabs.
    let mostKept = expected.map { $0 + 1 } ?? mostColumns
    var found = 1
    var fieldStart = row.lowerBound
    for index in row {
      if bytes[index] == 0x09 {
        if fields.count < mostKept { fields.append(fieldStart..<index) }
        found += 1
        fieldStart = index + 1
      } else if bytes[index] == 0x0D {
        throw Failure(
          .badData, at: place(at: index), "carriage return inside a row, expected rows that end with LF or CRLF")
      }
    }
    if fields.count < mostKept { fields.append(fieldStart..<row.upperBound) }
    guard let expected else {
      guard found <= mostColumns else { throw tooManyColumns(found, at: place(at: row.lowerBound)) }
      fieldCount = found
      return
    }
    guard found != expected, !allowsShortRows else { return }
    // The column is where the first surplus field starts, or where the row ends too early.
    throw Failure(
      .badData, at: place(at: found > expected ? fields[expected].lowerBound : row.upperBound),
      "has \(found) tab-separated field\(found == 1 ? "" : "s"), expected \(expected) as in the header")
  }
}

/// Where the text of a table begins, behind a byte order mark. Refuses what is another kind of file, and bytes that are no
/// text.
///
/// - Parameter kind: what is expected, for messages.
func textStart(of bytes: [UInt8], path: String, kind: String) throws(Failure) -> Int {
  guard bytes.count <= largestTableBytes else {
    throw Failure(.badData, at: path, "has \(bytes.count) bytes, expected at most \(largestTableBytes)")
  }
  let kinds: [(start: [UInt8], name: String)] = [
    ([0x1F, 0x8B], "gzip data"), ([0x50, 0x4B, 0x03, 0x04], "a zip archive"), ([0xFF, 0xFE], "UTF-16 text"),
    ([0xFE, 0xFF], "UTF-16 text"),
  ]
  if let found = kinds.first(where: { bytes.starts(with: $0.start) }) {
    throw Failure(.badData, at: path, "is \(found.name), expected \(kind) in UTF-8")
  }
  let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
  guard bytes.count > start else { throw Failure(.badData, at: path, "is empty, expected \(kind)") }
  let opening = bytes[start...].prefix(64).drop { $0 <= 0x20 }.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
  if ["<!doctype", "<html", "<?xml"].contains(where: { opening.starts(with: $0.utf8) }) {
    throw Failure(.badData, at: path, "is a web page, expected \(kind)", hint: "the download may have failed")
  }
  if let bad = bytes.withUnsafeBufferPointer(firstInvalidUTF8) {
    throw Failure(.badData, at: place(of: bad, in: bytes, path: path), "byte \(hex(bytes[bad])) is not UTF-8")
  }
  if let bad = bytes.firstIndex(of: 0) {
    throw Failure(.badData, at: place(of: bad, in: bytes, path: path), "NUL byte, expected text")
  }
  return start
}

/// The most columns that a table may have: its first row may be nothing but separators.
let mostColumns = 10_000

func tooManyColumns(_ count: Int, at place: String) -> Failure {
  Failure(.badData, at: place, "has \(count) columns, expected at most \(mostColumns)")
}

/// A row's place in a table is kept in 32 bits.
private let largestTableBytes = 1 << 30

private func place(of index: Int, in bytes: [UInt8], path: String) -> String {
  let line = bytes[..<index].count { $0 == 0x0A } + 1
  var lineStart = bytes[..<index].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
  if lineStart == 0 && bytes.starts(with: [0xEF, 0xBB, 0xBF]) { lineStart = 3 }
  return "\(path):\(line):\(index - lineStart + 1)"
}

private func hex(_ byte: UInt8) -> String {
  "0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
}
