import Glibc
import Inference
import TestSupport
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

struct LineTests {
  @Test("lines are the same however their bytes come in pieces", arguments: [1, 2, 3, 7, 100])
  func pieces(size: Int) {
    let text = bytes("\u{FEFF}one\r\ntwo\n\nfour \r x\nlast")
    var splitter = LineSplitter()
    var lines: [LineSplitter.Line] = []
    for start in stride(from: 0, to: text.count, by: size) {
      lines += splitter.add(text[start..<min(start + size, text.count)])
    }
    if let last = splitter.end() { lines.append(last) }
    #expect(lines.map { String(decoding: $0.bytes, as: UTF8.self) } == ["one", "two", "", "four \r x", "last"])
    #expect(lines.map(\.number) == [1, 2, 3, 4, 5])
    #expect(splitter.end() == nil)
  }

  @Test("of a line that is too long only its number is kept, and the next one is whole")
  func tooLong() {
    var splitter = LineSplitter(limitBytes: 4)
    let lines = splitter.add(bytes("12345678\nab\n1234\n"))
    #expect(lines.map(\.isTooLong) == [true, false, false])
    #expect(lines.map(\.bytes) == [[], bytes("ab"), bytes("1234")])
  }

  @Test("a pipe that stays open gives what is there, nothing while nothing comes, and its end")
  func pipe() throws {
    var ends: [Int32] = [0, 0]
    try #require(Glibc.pipe(&ends) == 0)
    defer { close(ends[0]) }
    var input = LineInput(descriptor: ends[0], name: "pipe")
    #expect(try input.next(atMost: 10, milliseconds: 1)?.count == 0)
    let first = bytes("a\nb\nc\nhal")
    #expect(write(ends[1], first, first.count) == first.count)
    #expect(try input.next(atMost: 2, milliseconds: 1000)?.map(\.bytes) == [bytes("a"), bytes("b")])
    #expect(try input.next(atMost: 2, milliseconds: 1000)?.map(\.bytes) == [bytes("c")])
    #expect(try input.next(atMost: 2, milliseconds: 1)?.count == 0, "half a line is no line yet")
    #expect(write(ends[1], bytes("f"), 1) == 1)
    close(ends[1])
    #expect(try input.next(atMost: 2, milliseconds: 1000)?.map(\.bytes) == [bytes("half")])
    #expect(try input.next(atMost: 2, milliseconds: 1000) == nil)
  }
}

struct QuestionTests {
  private func line(_ text: String, _ number: Int = 1) -> LineSplitter.Line {
    .init(number: number, bytes: bytes(text))
  }

  @Test("an object's texts are read, and its other keys are kept as they are written")
  func object() throws {
    let reader = JSONQuestions(path: "in")
    let found = try reader.question(
      line(#"{"id": 1.50, "text": "a\u00e9\n", "text_pair": null, "deep": {"x": [1, 2]}, "label": 1, "k\"": "v"}"#))
    let question = try #require(found)
    #expect(question.problem == nil && question.textPair == nil)
    #expect(question.text == bytes("aé\n"))
    #expect(
      String(decoding: question.members, as: UTF8.self)
        == #""id":1.50,"text":"a\u00e9\n","text_pair":null,"deep":{"x": [1, 2]},"k\"":"v""#)
  }

  @Test(
    "what is wrong with a line is said with its number, and the next line is read",
    arguments: [
      ("", "line 7 is empty"), ("  \t", "line 7 is empty"), ("{\"text\":", "in:7:9"), ("[1]", "is a list"),
      ("{\"text\": 3}", "expected a string"), ("{\"txt\": \"a\"}", "has no key \"text\""),
      ("{\"text\": \" \"}", "is blank"), ("{\"text\":\"a\",\"text\":\"b\"}", "is there twice"),
    ])
  func wrong(text: String, expected: String) throws {
    let reader = JSONQuestions(path: "in")
    let problem = try #require(try reader.question(line(text, 7))?.problem)
    #expect(problem.contains(expected), "\(problem)")
    #expect(try reader.question(line("{\"text\":\"a\"}", 8))?.problem == nil)
  }

  @Test("columns with a header are keys of the answer; without one they are a text and a second text")
  func columns() throws {
    var named = TableQuestions(path: "in")
    #expect(try named.question(line("id\tsentence1\tsentence2")) == nil)
    let row = try #require(try named.question(line("7\ta \"b\tc", 2)))
    #expect(row.text == bytes("a \"b") && row.textPair == bytes("c"))
    #expect(String(decoding: row.members, as: UTF8.self) == #""id":"7","sentence1":"a \"b","sentence2":"c""#)
    #expect(try named.question(line("7\ta", 3))?.problem?.contains("has 2 columns, expected 3") == true)

    var plain = TableQuestions(path: "in")
    let first = try #require(try plain.question(line("a\tb")))
    #expect(first.text == bytes("a") && first.textPair == bytes("b"))
    #expect(throws: (any Error).self) { try plainHeader("a\tb\tc") }
    #expect(throws: (any Error).self) { try plainHeader("text\tid\tid") }
  }

  private func plainHeader(_ text: String) throws {
    var reader = TableQuestions(path: "in")
    _ = try reader.question(line(text))
  }

  @Test("a row of commas and quotes is one row")
  func csv() throws {
    let rows = try csvQuestions(bytes("id,text\r\n1,\"a, \"\"b\"\"\nc\"\r\n2,d\r\n"), path: "in", TextColumns())
    #expect(rows.map(\.text) == [bytes("a, \"b\"\nc"), bytes("d")])
    #expect(String(decoding: rows[at: 1]?.members ?? [], as: UTF8.self) == #""id":"2","text":"d""#)
  }
}
