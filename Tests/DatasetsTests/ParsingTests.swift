import Datasets
import System
import TestSupport
import Testing

@Suite struct ParsingTests {
  static let header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
  static let unlabelledHeader = "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
  static let good = header + "1\t1\t2\tone two\tthree\n"

  private func parse(_ text: String, requiresLabels: Bool = true) throws -> [SentencePair] {
    Array(try GLUETask.mrpc.parse(Array(text.utf8), path: "t.tsv", requiresLabels: requiresLabels))
  }

  @Test(arguments: [
    good, String(good.dropLast()), "\u{FEFF}" + good, good.replacing("\n", with: "\r\n"),
    String(good.replacing("\n", with: "\r\n").dropLast()), good + "\n", good.replacing("\n", with: "\r\n") + "\r\n",
    good + "\r\n", good + "\r",
  ])
  func linesInEveryStyle(text: String) throws {
    #expect(try parse(text) == [pair("one two", "three", .category(1))])
  }

  @Test func quotesAndOddSpacesAreText() throws {
    let first = "say \"it , don 't \"\" '"
    let second = "a\u{2028}b\u{85}c\u{0B}d\u{0C}e "
    #expect(
      try parse(Self.header + "0\t1\t2\t\(first)\t\(second)\n1\t3\t4\tx\ty\"\n")
        == [pair(first, second, .category(0)), pair("x", "y\"", .category(1))])
  }

  @Test func columnsAreFoundByName() throws {
    let text = "#2 String\textra\tQuality\t#1 String\nb\tx\t1\ta\n"
    #expect(try parse(text) == [pair("a", "b", .category(1))])
  }

  @Test func unlabelledTables() throws {
    let text = Self.unlabelledHeader + "0\t1\t2\ta\tb\n"
    #expect(try parse(text, requiresLabels: false) == [pair("a", "b", .unknown)])
    #expect(try parse(Self.good, requiresLabels: false).map(\.label) == [.category(1)])
  }

  @Test(arguments: [("sentence1", "sentence2"), ("text1", "text2")])
  func columnsOfExports(first: String, second: String) throws {
    let header = "\(first)\t\(second)\tlabel\tidx\n"
    #expect(try parse(header + "a\tb\t1\t0\n") == [pair("a", "b", .category(1))])
    check(Array((header + "a\tb\t-1\t0\n").utf8), "t.tsv:2:5", "label is \"-1\", expected 0 or 1")
    check(Array("\(first)\t\(second)\tQuality\na\tb\t1\n".utf8), "t.tsv:1:1", "no column \"label\"")
    check(Array("\(first)\tlabel\na\t1\n".utf8), "t.tsv:1:1", "no column \"\(second)\"")
    // GLUE's own names come first.
    let both = "\(first)\t\(second)\tlabel\tQuality\t#1 String\t#2 String\nx\ty\t0\t1\ta\tb\n"
    #expect(try parse(both) == [pair("a", "b", .category(1))])
  }

  @Test func rowsWithoutLabelsInATestTable() throws {
    let text = "sentence1\tsentence2\tlabel\na\tb\t-1\nc\td\t1\n"
    #expect(try parse(text, requiresLabels: false) == [pair("a", "b", .unknown), pair("c", "d", .category(1))])
    let failure = failure { () throws(Failure) in
      try GLUETask.mrpc.parse(Array("sentence1\tsentence2\tlabel\na\tb\t-2\n".utf8), path: "t", requiresLabels: false)
    }
    #expect(failure?.place == "t:2:5" && failure?.hint == nil)
  }

  @Test(arguments: [
    ("", "t.tsv", "is empty"), ("\u{FEFF}", "t.tsv", "is empty"), (header, "t.tsv", "no rows"),
    (String(header.dropLast()), "t.tsv", "no rows"), ("\n" + good, "t.tsv:1:1", "blank line"),
    (good + "\n\n", "t.tsv:3:1", "blank line"), (good + "\r\n\r\n", "t.tsv:3:1", "blank line"),
    (good + " \n", "t.tsv:3:2", "1 tab-separated field, expected 5"),
    ("\n", "t.tsv:1:1", "blank line, expected a header"),
    ("\n\n", "t.tsv:1:1", "blank line, expected a header"), (header + "\n", "t.tsv", "no rows"),
    (header + "\n1\t1\t2\ta\tb\n", "t.tsv:2:1", "blank line"),
    (good + "1\t1\t2\ta b\n", "t.tsv:3:10", "4 tab-separated fields, expected 5"),
    (good + "1\t1\t2\ta\tb\tc\n", "t.tsv:3:11", "6 tab-separated fields, expected 5"),
    (good + "oops\n", "t.tsv:3:5", "1 tab-separated field, expected 5"),
    (header + "1\t1\t2\t\tb\n", "t.tsv:2:7", "\"#1 String\" is blank"),
    (header + "1\t1\t2\ta\t  \n", "t.tsv:2:9", "\"#2 String\" is blank"),
    (header + "1\t1\t2\ta\rb\tc\n", "t.tsv:2:8", "carriage return"),
    (header + "1\t1\t2\ta\tb\0c\n", "t.tsv:2:10", "NUL"),
    (unlabelledHeader + "0\t1\t2\ta\tb\n", "t.tsv:1:1", "no column \"Quality\""),
    ("1\t1\t2\ta\tb\n", "t.tsv:1:1", "no column \"#1 String\""),
    ("gj04\t1\t\tA sentence.\n", "t.tsv:1:1", "no column"), ("sentence\tlabel\nfine\t1\n", "t.tsv:1:1", "no column"),
    ("Quality\tQuality\t#1 String\t#2 String\n1\t1\ta\tb\n", "t.tsv:1:9", "twice"),
    ("<!DOCTYPE html>\n<p>Not found", "t.tsv", "web page"), ("\n <HTML>", "t.tsv", "web page"),
  ])
  func faults(text: String, place: String, message: String) {
    check(Array(text.utf8), place, message)
  }

  @Test(arguments: ["2", "", " 1", "1 ", "+1", "-1", "1.0", "１", "01", "true", "1\u{301}"])
  func labels(label: String) {
    check(Array((Self.good + "\(label)\t1\t2\ta\tb\n").utf8), "t.tsv:3:1", "label is \"\(label)\", expected 0 or 1")
  }

  @Test(arguments: [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE4, 0xB8], [0xF5, 0x80, 0x80, 0x80]] as [[UInt8]])
  func bytesThatAreNotUTF8(bad: [UInt8]) {
    check(Array((Self.good + "1\t1\t2\ta").utf8) + bad + Array("\tb\n".utf8), "t.tsv:3:8", "not UTF-8")
    check([0xEF, 0xBB, 0xBF, 0x41] + bad, "t.tsv:1:2", "not UTF-8")
  }

  @Test(
    arguments: [
      ([0x1F, 0x8B, 0x08, 0x00], "gzip"), ([0xFF, 0xFE, 0x51, 0x00], "UTF-16"), ([0xFE, 0xFF, 0x00, 0x51], "UTF-16"),
      ([0x50, 0x4B, 0x03, 0x04], "zip"),
    ] as [([UInt8], String)])
  func otherKindsOfFile(bytes: [UInt8], name: String) {
    check(bytes, "t.tsv", name)
  }

  @Test func longValuesAreCutInMessages() {
    let label = String(repeating: "9", count: 1_000_000)
    let failure = failure { () throws(Failure) in
      try GLUETask.mrpc.parse(Array((Self.header + "\(label)\t1\t2\ta\tb\n").utf8), path: "t.tsv")
    }
    #expect(failure?.description.utf8.count ?? .max < 200)
    #expect(failure?.description.contains("1000000 bytes") == true)
  }

  @Test func aTenMegabyteLine() throws {
    let sentence = String(repeating: "word ", count: 2_000_000)
    #expect(try parse(Self.header + "1\t1\t2\t\(sentence)\tb\n").first?.first.count == 10_000_000)
  }

  @Test func singleSentencesAndScores() throws {
    var task = GLUETask(
      name: "stars", firstColumn: "text", secondColumn: nil, labelColumn: "stars", labels: .scores(0...5), metrics: [])
    let rows = try task.parse(Array("stars\ttext\n2.5\tfair\n5\tgood\n".utf8), path: "s.tsv")
    #expect(Array(rows) == [pair("fair", nil, .score(2.5)), pair("good", nil, .score(5))])
    #expect(task.labelCount == 1)
    for bad in ["nan", "0x1p1", "+1", "-1", "5.1", "1e0", "", ".5", "1.2.3"] {
      let failure = failure { () throws(Failure) in
        try task.parse(Array("stars\ttext\n\(bad)\tfair\n".utf8), path: "s.tsv")
      }
      #expect(failure?.place == "s.tsv:2:1", "\(bad)")
    }
    task.labels = .classes(["no", "yes"])
    #expect(try task.parse(Array("stars\ttext\nyes\tfair\n".utf8), path: "s.tsv").first?.label == .category(1))
  }

  @Test func rowsOfNothingButTabs() {
    let tabs = String(repeating: "\t", count: 50_000)
    check(Array((Self.good + "a" + tabs).utf8), "t.tsv:3:7", "50001 tab-separated fields, expected 5")
    check(Array((tabs + "\na").utf8), "t.tsv:1:1", "50001 columns, expected at most 10000")
  }

  private func check(_ bytes: [UInt8], _ place: String, _ message: String) {
    let failure = failure { () throws(Failure) in try GLUETask.mrpc.parse(bytes, path: "t.tsv") }
    #expect(failure?.status == .badData)
    #expect(failure?.place == place)
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }
}
