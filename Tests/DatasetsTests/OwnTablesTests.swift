import Datasets
import System
import TestSupport
import Testing

@Suite("tables of one's own") struct OwnTablesTests {
  private func load(
    _ text: String, _ name: String = "t.csv", validation: String? = nil, _ change: (inout OwnTables) -> Void = { _ in }
  ) throws -> OwnTables.Loaded {
    let folder = try TemporaryFolder()
    try folder.write(text, name)
    try folder.write(validation ?? text, "validation-\(name)")
    var tables = OwnTables(train: "\(folder.path)/\(name)", validation: "\(folder.path)/validation-\(name)")
    change(&tables)
    return try tables.load()
  }

  private func problem(
    _ text: String, _ name: String = "t.csv", validation: String? = nil, _ change: (inout OwnTables) -> Void = { _ in }
  ) -> Failure? {
    do {
      _ = try load(text, name, validation: validation, change)
      return nil
    } catch { return error as? Failure }
  }

  @Test(
    "CSV is read by RFC 4180: quotes, commas and line ends in fields, CRLF and LF, no last line end",
    arguments: ["\r\n", "\n"])
  func csv(end: String) throws {
    let lines = ["label,\"text\"", "no,\"one, \"\"two\"\"\(end)three\"", "yes,", "\"yes\",plain \u{00E9}"]
    let text = lines.joined(separator: end).replacing("yes,\(end)", with: "yes,\"\"\"\"\(end)")
    for text in [text, text + end, text + end + end, "\u{FEFF}" + text] {
      let loaded = try load(text)
      #expect(
        Array(loaded.train) == [
          pair("one, \"two\"\(end)three", nil, .category(0)), pair("\"", nil, .category(1)),
          pair("plain \u{00E9}", nil, .category(1)),
        ])
      #expect(loaded.labels == .classes(["no", "yes"]))
    }
  }

  @Test(
    "columns are found by their usual names, or by those that are given",
    arguments: [
      ("text1,text2,label", "text1", "text2"), ("label,sentence2,sentence1", "sentence1", "sentence2"),
      ("text,x,label", "text", nil), ("label,sentence,x", "sentence", nil),
    ] as [(String, String, String?)])
  func columns(header: String, first: String, second: String?) throws {
    let loaded = try load(header + "\n1,2,3\n4,5,6\n")
    #expect(loaded.textColumn == first && loaded.textPairColumn == second && loaded.labelColumn == "label")
    let given = try load("a,text,b,label\n1,2,3,4\n5,6,7,8\n") {
      $0.textColumn = "b"; $0.labelColumn = "a"
    }
    #expect(Array(given.train) == [pair("3", nil, .category(0)), pair("7", nil, .category(1))])
    let both = try load("a,text,b,label\n1,2,3,4\n5,6,7,8\n") {
      $0.textColumn = "b"; $0.textPairColumn = "text"
    }
    #expect(Array(both.train) == [pair("3", "2", .category(0)), pair("7", "6", .category(1))])
  }

  @Test("classes are those of the training rows in Python's order, or the given ones; TSV, CSV and JSON lines alike")
  func classes() throws {
    let numbers = try load("text\tlabel\na\t10\nb\t9\nc\t-1\n", "t.tsv")
    #expect(numbers.labels == .classes(["-1", "9", "10"]) && numbers.labelNames == ["-1", "9", "10"])
    let texts = try load("text,label\na,b\nb,a\nc,Z\n")
    #expect(texts.labels == .classes(["Z", "a", "b"]))
    let lines = try load(#"{"text": "a", "label": "x"}"# + "\n" + #"{"text": "b", "label": "w"}"# + "\n", "t.jsonl")
    #expect(lines.labels == .classes(["w", "x"]))
    let given = try load("text,label\na,1\nb,x\n") { $0.labelNames = ["x", "1", "rare"] }
    #expect(Array(given.train).map(\.label) == [.category(1), .category(0)], "given classes allow mixed kinds")
    let truth = try load(#"{"text": "a", "label": true}"# + "\n" + #"{"text": "b", "label": false}"# + "\n", "t.json")
    #expect(truth.labels == .classes(["false", "true"]))
  }

  @Test("labels with a fraction are scores, lists are sets of classes")
  func otherKinds() throws {
    let scores = try load("text,label\na,1\nb,-2.5e-1\n")
    #expect(Array(scores.train).map(\.label) == [.score(1), .score(-0.25)] && scores.labels.problem == .regression)
    let whole = try load("text,label\na,1\nb,2\n") { $0.problem = .regression }
    #expect(Array(whole.train).map(\.label) == [.score(1), .score(2)])
    let lines = [#"{"text": "a", "label": ["y", "x"]}"#, #"{"text": "b", "label": []}"#, ""].joined(separator: "\n")
    let sets = try load(lines, "t.jsonl")
    #expect(sets.labels == .classSets(["x", "y"]) && sets.labels.problem == .multiLabel)
    #expect(Array(sets.train).map(\.label) == [.categories([0, 1]), .categories([])])
    let cells = try load("text\tlabel\na\ty|x\nb\t\nc\tx\n", "t.tsv") { $0.labelSeparator = UInt8(ascii: "|") }
    #expect(Array(cells.train).map(\.label) == [.categories([0, 1]), .categories([]), .categories([0])])
  }

  @Test("rows of a test file may lack labels")
  func testFile() throws {
    let folder = try TemporaryFolder()
    try folder.write("text,label\na,x\nb,y\n", "t.csv")
    try folder.write("text\n1\n", "test.csv")
    let path = "\(folder.path)/t.csv"
    let loaded = try OwnTables(train: path, validation: path, test: "\(folder.path)/test.csv").load()
    #expect(loaded.test.map(Array.init) == [pair("1", nil, .unknown)])
  }

  private static let good = "text,label\na,x\nb,y\n"

  @Test(
    "what is wrong is told with line and column, what was found and what was expected",
    arguments: [
      ("text,lable\na,x\n", "1:1", "no column \"label\", found \"text\", \"lable\""),
      (
        "words,label\na,x\n", "1:1", "no column \"text1\" or \"sentence1\" or \"text\" or \"sentence\", found \"words\""
      ),
      (good + "c\n", "4:2", "has 1 comma-separated field, expected 2"),
      (good + "c,x,\n", "4:5", "has 3 comma-separated"),
      (good + "\"c,x\n", "4:1", "open quote"), (good + "\"c\"d,x\n", "4:4", "behind a closing quote"),
      (good + "c\"d,x\n", "4:2", "quote inside a field"), (good + "\nc,x\n", "4:1", "blank line"),
      (good + "c\rd,x\n", "4:2", "carriage return"), (good + " ,x\n", "4:1", "\"text\" is blank"),
      (good + "c, \n", "4:3", "label is blank"), (good + "c,1.5\n", "4:3", "label is a number, expected text as at"),
      ("text,label\n\"a\nb\",1\nc,x\n", "4:3", "label is text, expected a whole number"),
      ("text,label\na,x\nb,x\n", "", "all 2 rows have the label \"x\", expected at least two classes"),
      ("text,label\n", "", "no rows"), ("", "", "is empty"), ("text,text,label\na,b,c\n", "1:6", "twice"),
    ])
  func faults(text: String, place: String, message: String) {
    let failure = problem(text)
    #expect(failure?.status == .badData, "\(failure?.description ?? "nothing thrown")")
    #expect(
      failure?.place?.hasSuffix(place.isEmpty ? "t.csv" : "t.csv:\(place)") == true, "\(failure?.place ?? "nowhere")")
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }

  @Test func rowsOfNothingButCommas() {
    let commas = String(repeating: ",", count: 50_000)
    faults(text: Self.good + commas, place: "4:3", message: "has 50001 comma-separated fields, expected 2")
    faults(text: commas + "\na", place: "1:1", message: "has 50001 columns, expected at most 10000")
  }

  private static let line = #"{"text": "a", "label": "x"}"# + "\n"
  private static let goodLines = line + #"{"text": "b", "label": "y"}"# + "\n"

  @Test(
    "the same for JSON lines",
    arguments: [
      (goodLines + "{\"text\": \"c\",\n", "3:", "ends"), (goodLines + #"{"text": "c"}"#, "3:1", "no key \"label\""),
      (goodLines + #"{"label": "x"}"#, "3:1", "no key \"text\""),
      (goodLines + #"{"text": "c", "label": 1}"#, "3:24", "label is a whole number, expected text as at"),
      (goodLines + #"{"text": "c", "label": ["x"]}"#, "3:24", "label is a list, expected text"),
      (goodLines + #"{"text": "c", "label": null}"#, "3:24", "is null, expected a label"),
      (goodLines + #"{"text": 1, "label": "x"}"#, "3:10", "expected a string"),
      (#"{"words": "a", "label": "x"}"#, "1:1", "no key \"text1\" or"), ("[" + line + "]", "1:1", "a JSON list"),
      (#"{"text": "a", "label": ["x", "x"]}"# + "\n" + #"{"text": "a", "label": ["y"]}"#, "1:24", "is there twice"),
    ])
  func faultsOfLines(text: String, place: String, message: String) {
    let failure = problem(text, "t.jsonl")
    #expect(failure?.status == .badData, "\(failure?.description ?? "nothing thrown")")
    #expect(failure?.place?.contains("t.jsonl:\(place)") == true, "\(failure?.place ?? "nowhere")")
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }

  @Test("a validation label that no training row has is refused with the classes that there are")
  func otherClass() {
    let failure = problem(Self.good, validation: "text,label\na,x\nb,z\n")
    #expect(failure?.place?.hasSuffix("validation-t.csv:3:3") == true)
    #expect(failure?.message == "label is \"z\", expected x or y")
    let given = problem(Self.good) { $0.labelNames = ["x", "z"] }
    #expect(given?.place?.hasSuffix("/t.csv:3:3") == true && given?.message == "label is \"y\", expected x or z")
  }

  @Test("options that contradict one another, and files of unknown format, are refused")
  func options() {
    #expect(problem(Self.good, "t.txt")?.status == .usage)
    #expect(problem(Self.good) { $0.labelNames = ["x", "x"] }?.message.contains("twice") == true)
    #expect(problem(Self.good) { $0.labelNames = ["x"] }?.status == .usage)
    #expect(problem(Self.good) { ($0.labelNames, $0.problem) = (["x", "y"], .regression) }?.status == .usage)
    #expect(problem(Self.good) { $0.problem = .multiLabel }?.message.contains("label separator") == true)
    #expect(problem(Self.good) { $0.textPairColumn = "text" }?.message.contains("named twice") == true)
    #expect(problem(Self.good) { $0.textPairColumn = "other" }?.place?.hasSuffix("t.csv:1:1") == true)
    #expect(problem("text,label\na,x\n") { $0.problem = .regression }?.message == "label is \"x\", expected a number")
  }
}
