import JSON
import System
import Tokenization

/// The labels of a table, looked through before its rows are read: of which kind they are, and which there are.
struct LabelScan {
  /// What a label is. In a table of text it is what it looks like.
  enum Kind: Sendable {
    case wholeNumber, number, text, truth, list

    var name: String {
      switch self {
      case .wholeNumber: "a whole number"
      case .number: "a number"
      case .text: "text"
      case .truth: "true or false"
      case .list: "a list"
      }
    }
  }

  let path: String
  /// Between the classes of a row, where a row of a table of text may have several.
  let separator: UInt8?
  private(set) var kind: Kind?
  private var firstPlace = ""
  private var rows = 0
  private var found: Set<[UInt8]> = []

  /// More classes than a model's head may have, and a sign that the column holds something else.
  private static let mostClasses = 1 << 16

  init(path: String, separator: UInt8?) {
    self.path = path
    self.separator = separator
  }

  /// Goes through the column `column` of a file.
  ///
  /// - Parameter isLabelled: whether the classes are known, so that kinds may be mixed.
  mutating func read(
    _ bytes: [UInt8], _ format: TableFormat, column: String, isLabelled: Bool
  ) throws(Failure) {
    switch format {
    case .tsv:
      var table = try TableReader(bytes, path: path)
      try read(&table, column, isLabelled)
    case .csv:
      var table = try CSVReader(bytes, path: path)
      try read(&table, column, isLabelled)
    case .jsonLines:
      try forEachJSONLine(bytes, path: path) { (row) throws(Failure) in
        guard let node = try row.rawMember(column) else { throw row.missingKey([column]) }
        try add(node, isLabelled)
      }
    }
    guard rows > 0 else { throw Failure(.badData, at: path, "has a header and no rows, expected at least one") }
  }

  private mutating func read(_ table: inout some RowReader, _ name: String, _ isLabelled: Bool) throws(Failure) {
    guard try table.next() else { throw Failure(.badData, at: path, "is empty, expected a header and rows") }
    let column = try table.require(name, labelName: nil)
    while try table.next() {
      let field = table.field(column)
      if let separator {
        try count(.list, at: table.place(column), isLabelled)
        let parts = field.isEmpty ? [] : field.split(separator: separator, omittingEmptySubsequences: false)
        for part in parts { try insert(part, at: table.place(column)) }
      } else {
        let isWhole = isDecimal(field, isWhole: true) && Int(String(decoding: field, as: UTF8.self)) != nil
        try count(isWhole ? .wholeNumber : isDecimal(field) ? .number : .text, at: table.place(column), isLabelled)
        try insert(field, at: table.place(column))
      }
    }
  }

  private mutating func add(_ node: JSONNode, _ isLabelled: Bool) throws(Failure) {
    switch node.kind {
    case .string: try count(.text, at: node.place, isLabelled)
    case .bool: try count(.truth, at: node.place, isLabelled)
    case .number:
      try count(isDecimal(node.source, isWhole: true) ? .wholeNumber : .number, at: node.place, isLabelled)
    case .array:
      try count(.list, at: node.place, isLabelled)
      for element in try node.elements() {
        guard element.kind == .string || element.kind == .number else {
          throw element.unexpected("a class: text or a whole number")
        }
        try insert(element.labelText(), at: element.place)
      }
      return
    case .null, .object: throw node.unexpected("a label: text, a number or a list")
    }
    try insert(node.labelText(), at: node.place)
  }

  private mutating func count(_ new: Kind, at place: @autoclosure () -> String, _ isLabelled: Bool) throws(Failure) {
    rows += 1
    guard let known = kind, known != new else {
      if kind == nil { firstPlace = place() }
      kind = new
      return
    }
    if [known, new].allSatisfy({ $0 == .number || $0 == .wholeNumber }) {
      kind = .number
    } else if isLabelled && known != .list && new != .list {
      kind = .text
    } else {
      throw Failure(
        .badData, at: place(), "label is \(new.name), expected \(known.name) as at \(firstPlace)",
        hint: known == .list || new == .list ? nil : "given label names allow text and numbers in one column")
    }
  }

  private mutating func insert(_ text: ArraySlice<UInt8>, at place: @autoclosure () -> String) throws(Failure) {
    guard text.contains(where: { $0 > 0x20 }) else {
      throw Failure(.badData, at: place(), "label is blank, expected a class or a number")
    }
    // Scores are not kept one by one.
    guard kind != .number, found.insert(Array(text)).inserted, found.count > Self.mostClasses else { return }
    if kind == .wholeNumber { return }
    throw Failure(
      .badData, at: place(), "is class number \(found.count) of the column, expected at most \(Self.mostClasses)",
      hint: "the column may not hold labels")
  }

  /// The classes in order: numbers by their value, texts by their bytes, as Python sorts them.
  func classes() throws(Failure) -> [String] {
    guard found.count >= 2 else {
      let only = found.first.map { "the label \(quoted($0))" } ?? "no label"
      throw Failure(.badData, at: path, "all \(rows) rows have \(only), expected at least two classes")
    }
    guard found.count <= Self.mostClasses else {
      throw Failure(
        .badData, at: path, "has \(found.count) different labels, expected at most \(Self.mostClasses)",
        hint: "the column may hold scores: problem type regression")
    }
    let texts = found.map { String(decoding: $0, as: UTF8.self) }
    let isNumeric = texts.allSatisfy { isDecimal(Array($0.utf8)[...], isWhole: true) && Int($0) != nil }
    return texts.sorted { left, right in
      if isNumeric, let a = Int(left), let b = Int(right), a != b { return a < b }
      return left.utf8.lexicographicallyPrecedes(right.utf8)
    }
  }
}
