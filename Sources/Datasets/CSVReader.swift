import System

/// Reads comma-separated values by RFC 4180: a field in quotes may hold commas, line ends and doubled quotes. Rows end
/// with CRLF or LF; one blank line may end the file.
///
/// It is our own, for what readers at hand do with a file that is not as it should be: they join rows, or stop with no
/// place to look at. This one names line and column (in bytes, from 1).
struct CSVReader: RowReader {
  let path: String
  /// The file; a field with doubled quotes is overwritten with its text, which is shorter.
  private(set) var bytes: [UInt8]
  private(set) var fields: [Range<Int>] = []
  /// Line and column where each field of the present row begins.
  private var places: [(line: Int, column: Int)] = []
  private var position: Int
  private var line = 1
  private var lineStart: Int
  private var fieldCount: Int?

  /// A reader of `bytes`, the content of `path`, before the first row.
  init(_ bytes: [UInt8], path: String) throws(Failure) {
    self.path = path
    position = try textStart(of: bytes, path: path, kind: "comma-separated text")
    lineStart = position
    self.bytes = bytes
  }

  var mostRowsLeft: Int { bytes[min(position, bytes.count)...].count { $0 == 0x0A } + 1 }

  func place(_ column: Int) -> String { "\(path):\(places[column].line):\(places[column].column)" }

  private var place: String { "\(path):\(line):\(position - lineStart + 1)" }

  mutating func next() throws(Failure) -> Bool {
    guard position < bytes.count else { return false }
    let isFirst = fieldCount == nil
    if isLineEnd {
      let blank = place
      skipLineEnd()
      if !isFirst && position >= bytes.count { return false }
      throw Failure(
        .badData, at: blank,
        "is a blank line, expected \(fieldCount.map { "\($0) comma-separated fields" } ?? "a header")")
    }
    fields.removeAll(keepingCapacity: true)
    places.removeAll(keepingCapacity: true)
    // Of surplus fields the first is kept, for its place: a row may be nothing but commas.
    let mostKept = fieldCount.map { $0 + 1 } ?? mostColumns
    var found = 0
    var isInRow = true
    while isInRow {
      let start = (line, position - lineStart + 1)
      let field = try position < bytes.count && bytes[position] == 0x22 ? quotedField() : plainField()
      if fields.count < mostKept {
        places.append(start)
        fields.append(field)
      }
      found += 1
      if position < bytes.count && bytes[position] == 0x2C {
        position += 1
      } else {
        try checkCount(found)
        skipLineEnd()
        isInRow = false
      }
    }
    return true
  }

  private mutating func checkCount(_ found: Int) throws(Failure) {
    guard let expected = fieldCount else {
      guard found <= mostColumns else { throw tooManyColumns(found, at: place(0)) }
      fieldCount = found
      return
    }
    guard found != expected else { return }
    // The column is where the first surplus field starts, or where the row ends too early.
    throw Failure(
      .badData, at: found > expected ? place(expected) : place,
      "has \(found) comma-separated field\(found == 1 ? "" : "s"), expected \(expected) as in the header")
  }

  private var isLineEnd: Bool {
    bytes[position] == 0x0A || (bytes[position] == 0x0D && position + 1 < bytes.count && bytes[position + 1] == 0x0A)
  }

  private mutating func skipLineEnd() {
    guard position < bytes.count else { return }
    position += bytes[position] == 0x0D ? 2 : 1
    line += 1
    lineStart = position
  }

  private mutating func plainField() throws(Failure) -> Range<Int> {
    let start = position
    while position < bytes.count, bytes[position] != 0x2C, !isLineEnd {
      if bytes[position] == 0x22 {
        throw Failure(
          .badData, at: place, "has a quote inside a field, expected the whole field in quotes and this one doubled")
      }
      if bytes[position] == 0x0D {
        throw Failure(.badData, at: place, "carriage return inside a row, expected rows that end with LF or CRLF")
      }
      position += 1
    }
    return start..<position
  }

  private mutating func quotedField() throws(Failure) -> Range<Int> {
    let opening = place
    position += 1
    let start = position
    var end = start
    while position < bytes.count {
      let byte = bytes[position]
      if byte == 0x22 {
        let isDoubled = position + 1 < bytes.count && bytes[position + 1] == 0x22
        position += isDoubled ? 2 : 1
        if !isDoubled {
          guard position == bytes.count || bytes[position] == 0x2C || isLineEnd else {
            throw Failure(
              .badData, at: place, "has text behind a closing quote, expected a comma or the end of the row")
          }
          return start..<end
        }
      } else {
        position += 1
        if byte == 0x0A {
          line += 1
          lineStart = position
        }
      }
      bytes[end] = byte
      end += 1
    }
    throw Failure(.badData, at: opening, "has an open quote, expected a closing one before the end of the file")
  }
}
