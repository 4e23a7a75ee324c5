import JSON
import System
import Tokenization

/// Tables of one's own: files of TSV, CSV or JSON lines with named columns, and what is known of them beforehand.
public struct OwnTables: Sendable {
  public var train: String
  public var validation: String
  public var test: String?
  /// Nil finds `text1`, `sentence1`, `text` or `sentence`.
  public var textColumn: String?
  /// Nil finds `text2` or `sentence2` where ``textColumn`` is nil too; else rows are single sentences.
  public var textPairColumn: String?
  /// Nil finds `label`.
  public var labelColumn: String?
  /// The classes in order; nil finds them in the training rows and sorts them, numbers by their value.
  public var labelNames: [String]?
  /// An order of classes, a checkpoint's for instance: it holds where the training rows have the same ones.
  public var knownOrder: [String] = []
  /// Nil finds it: labels with a fraction are scores, lists are sets of classes, all others are classes.
  public var problem: ProblemType?
  /// The character between the classes of a row of a TSV or CSV table; nil where a row has one.
  public var labelSeparator: UInt8?

  static let textColumns = ["text1", "sentence1", "text", "sentence"]
  static let textPairColumns = ["text2", "sentence2"]
  static let standardLabelColumn = "label"

  public init(train: String, validation: String, test: String? = nil) {
    self.train = train
    self.validation = validation
    self.test = test
  }

  /// The rows of all files, with what was found out about them.
  public struct Loaded: Sendable {
    public var train: SentencePairs
    public var validation: SentencePairs
    /// Rows may lack labels.
    public var test: SentencePairs?
    public var labels: TaskLabels
    public var textColumn: String
    public var textPairColumn: String?
    public var labelColumn: String

    /// The classes, in order; empty for scores.
    public var labelNames: [String] {
      switch labels {
      case .classes(let names), .classSets(let names): names
      case .scores: []
      }
    }
  }

  /// The paths that are read.
  public var inputPaths: [String] { [train, validation, test].compactMap(\.self) }

  /// Reads all files.
  ///
  /// - Parameter files: where they are read from; ``inputPaths`` of them are.
  /// - Throws: `.usage` for options that contradict one another, `.missingInput`, or `.badData` with file, line and column
  ///   of what is not as it should be.
  public func load(files: InputFiles = .disk) throws(Failure) -> Loaded {
    try check()
    let formats = try [train, validation, test ?? train].map { (path) throws(Failure) in
      try TableFormat(ofFile: path)
    }
    let trainBytes = try files.bytes(train)
    let columns = try columns(of: trainBytes, formats[0])
    var schema = RowSchema([columns], labels: .scores(-.greatestFiniteMagnitude ... .greatestFiniteMagnitude))
    schema.separator = labelSeparator
    schema.labels = try labels(of: trainBytes, formats[0], columns)
    let trainRows = try schema.parse(trainBytes, path: train, formats[0], requiresLabels: true)
    let validationRows = try schema.parse(
      files.bytes(validation), path: validation, formats[1], requiresLabels: true)
    let rowSchema = schema
    let testRows = try test.map { (path) throws(Failure) in
      try rowSchema.parse(files.bytes(path), path: path, formats[2], requiresLabels: false)
    }
    return Loaded(
      train: trainRows, validation: validationRows, test: testRows, labels: schema.labels,
      textColumn: columns.first, textPairColumn: columns.second, labelColumn: columns.label)
  }

  private func check() throws(Failure) {
    if let labelNames {
      guard problem != .regression else {
        throw Failure(.usage, at: "label names", "a regression has scores and no classes")
      }
      guard labelNames.count >= 2 else {
        throw Failure(.usage, at: "label names", "\(labelNames.count) given, expected at least 2 classes")
      }
      for (index, name) in labelNames.enumerated() {
        guard !name.isEmpty else { throw Failure(.usage, at: "label names", "one is empty, expected text") }
        guard !labelNames[..<index].contains(where: { $0.utf8.elementsEqual(name.utf8) }) else {
          throw Failure(.usage, at: "label names", "\"\(name)\" is there twice, expected each once")
        }
      }
    }
    if labelSeparator != nil, let problem, problem != .multiLabel {
      throw Failure(
        .usage, at: "label separator", "given with \(problem.rawValue), expected \(ProblemType.multiLabel.rawValue)")
    }
  }

  // MARK: Columns

  /// The names of the columns, looked up in the header of a table or the first line of JSON lines.
  private func columns(of bytes: [UInt8], _ format: TableFormat) throws(Failure) -> RowSchema.Columns {
    switch format {
    case .tsv:
      var table = try TableReader(bytes, path: train)
      return try columns(ofHeader: &table)
    case .csv:
      var table = try CSVReader(bytes, path: train)
      return try columns(ofHeader: &table)
    case .jsonLines:
      if let bracket = bytes.firstIndex(where: { $0 > 0x20 }), bytes[bracket] == UInt8(ascii: "[") {
        throw Failure(
          .badData, at: "\(train):1:1", "is a JSON list, expected JSON lines: an object a line",
          hint: "jq -c '.[]' makes lines of a list")
      }
      var line = bytes[...]
      if let end = bytes.firstIndex(of: 0x0A) { line = bytes[..<end] }
      _ = try textStart(of: bytes, path: train, kind: "JSON lines")
      let row = try JSONDocument(Array(line), path: train, status: .badData).root
      let names = try row.members().map(\.key)
      return try columns { (name) in
        names.contains { $0.elementsEqual(name.utf8) }
      } missing: { missing in
        let found = names.prefix(6).map { quoted($0) }.joined(separator: ", ")
        return Failure(.badData, at: row.place, "has no key \(missing), found \(found)")
      }
    }
  }

  private func columns(ofHeader table: inout some RowReader) throws(Failure) -> RowSchema.Columns {
    guard try table.next() else { throw Failure(.badData, at: table.path, "is empty, expected a header and rows") }
    let header = table
    let columns = try columns { (name) in
      header.fields.indices.contains { header.field($0).elementsEqual(name.utf8) }
    } missing: { missing in
      let found = header.fields.indices.prefix(6).map { quoted(header.field($0)) }.joined(separator: ", ")
      return Failure(.badData, at: "\(header.path):1:1", "header has no column \(missing), found \(found)")
    }
    // Refuses a name that is there twice.
    for name in [columns.first, columns.second, columns.label] { if let name { _ = try header.find(name) } }
    return columns
  }

  private func columns(
    _ isThere: (String) -> Bool, missing: (String) -> Failure
  ) throws(Failure) -> RowSchema.Columns {
    func column(_ given: String?, _ standard: [String]) throws(Failure) -> String {
      if let found = (given.map { [$0] } ?? standard).first(where: isThere) { return found }
      throw missing((given.map { [$0] } ?? standard).map { "\"\($0)\"" }.joined(separator: " or "))
    }
    let first = try column(textColumn, Self.textColumns)
    var second = textPairColumn
    if let second, !isThere(second) { throw missing("\"\(second)\"") }
    if second == nil && textColumn == nil { second = Self.textPairColumns.first(where: isThere) }
    let label = try column(labelColumn, [Self.standardLabelColumn])
    let names = [first, second, label].compactMap(\.self)
    if let index = names.indices.first(where: { names[..<$0].contains(names[$0]) }) {
      throw Failure(.usage, "column \"\(names[index])\" is named twice, expected texts and label in different ones")
    }
    return RowSchema.Columns(first: first, second: second, label: label)
  }

  // MARK: Labels

  private func labels(
    of bytes: [UInt8], _ format: TableFormat, _ columns: RowSchema.Columns
  ) throws(Failure) -> TaskLabels {
    var problem = problem ?? (labelSeparator != nil ? .multiLabel : nil)
    if problem == .regression { return .scores(-.greatestFiniteMagnitude ... .greatestFiniteMagnitude) }
    if problem == .multiLabel && format != .jsonLines && labelSeparator == nil {
      throw Failure(
        .usage, "\(train) has one cell for the labels of a row, expected a label separator",
        hint: "the character that stands between them")
    }
    var scan = LabelScan(path: train, separator: format == .jsonLines ? nil : labelSeparator)
    try scan.read(bytes, format, column: columns.label, isLabelled: labelNames != nil)
    if problem == nil {
      switch scan.kind {
      case .list: problem = .multiLabel
      case .number where labelNames == nil: problem = .regression
      default: problem = .singleLabel
      }
    }
    guard problem != .regression else { return .scores(-.greatestFiniteMagnitude ... .greatestFiniteMagnitude) }
    var names = if let labelNames { labelNames } else { try scan.classes() }
    // Without this, a head that was trained with other numbers would be taken for one of these.
    func spelled(_ names: [String]) -> Set<[UInt8]> { Set(names.map { Array($0.utf8) }) }
    if labelNames == nil, knownOrder.count == names.count, spelled(knownOrder) == spelled(names) { names = knownOrder }
    return problem == .multiLabel ? .classSets(names) : .classes(names)
  }
}
