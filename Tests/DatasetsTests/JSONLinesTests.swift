import Datasets
import System
import TestSupport
import Testing

@Suite("JSON lines") struct JSONLinesTests {
  static let good = #"{"text1": "one two", "text2": "three", "label": 1}"# + "\n"

  private func parse(_ text: String, requiresLabels: Bool = true) throws -> [SentencePair] {
    Array(try GLUETask.mrpc.parseLines(Array(text.utf8), path: "t.jsonl", requiresLabels: requiresLabels))
  }

  @Test(
    "end in every style, with one blank last line",
    arguments: [
      good, String(good.dropLast()), good + "\n", good.replacing("\n", with: "\r\n") + "\r\n", good + "\r\n",
    ])
  func lineEnds(text: String) throws {
    #expect(try parse(text) == [pair("one two", "three", .category(1))])
  }

  @Test("may spell a label as a number or its text, and keys in any order and under any name that exports use")
  func spellings() throws {
    for text in [
      #"{"label": 0, "sentence2": "b", "more": {"label": [1]}, "sentence1": "a"}"#,
      ##"{"#1 String": "a", "#2 String": "b", "Quality": "0"}"##, #"{"text1":"\u0061","text2":"b","label":"\u0030"}"#,
    ] {
      #expect(try parse(text) == [pair("a", "b", .category(0))], "\(text)")
    }
  }

  @Test("hold tabs, line ends and quotes inside sentences")
  func escapes() throws {
    let text = #"{"text1": "a\tb\n\"c\" \ud83d\ude00", "text2": "é", "label": 1}"#
    #expect(try parse(text) == [pair("a\tb\n\"c\" \u{1F600}", "é", .category(1))])
  }

  @Test(
    "may lack labels in a test split", arguments: [", \"label\": -1", ", \"label\": null", ", \"label\": \"-1\"", ""])
  func testSplit(label: String) throws {
    let text = #"{"text1": "a", "text2": "b""# + label + "}\n" + Self.good
    #expect(
      try parse(text, requiresLabels: false) == [pair("a", "b", .unknown), pair("one two", "three", .category(1))])
    #expect(
      failure { () throws(Failure) in try GLUETask.mrpc.parseLines(Array(text.utf8), path: "t") }?.status == .badData)
  }

  @Test(
    "name the line and the column of what is wrong",
    arguments: [
      ("", "t.jsonl", "is empty"), ("\n", "t.jsonl:1:1", "blank line"), (good + "\n\n", "t.jsonl:2:1", "blank line"),
      (good + "\n" + good, "t.jsonl:2:1", "blank line"), ("\u{FEFF}" + good, "t.jsonl:1:1", "byte order mark"),
      (good + "[1]\n", "t.jsonl:2:1", "expected an object"),
      (good + good.replacing("}", with: ",}"), "t.jsonl:2:51", "key"),
      (good + good.replacing("1}", with: "2}"), "t.jsonl:2:49", "label is \"2\", expected 0 or 1"),
      (good + good.replacing("1}", with: "1.0}"), "t.jsonl:2:49", "label is \"1.0\""),
      (good + good.replacing("1}", with: "true}"), "t.jsonl:2:49", "label is \"true\""),
      (good + good.replacing("1}", with: "[1]}"), "t.jsonl:2:49", "label is"),
      (good + good.replacing("three", with: " \\n "), "t.jsonl:2:31", "\"text2\" is blank"),
      (good + good.replacing("\"three\"", with: "null"), "t.jsonl:2:31", "expected a string"),
      (good + good.replacing("text2", with: "text3"), "t.jsonl:2:1", "no key \"text2\""),
      (good + good.replacing("text", with: "sentence"), "t.jsonl:2:1", "no key \"text1\""),
      (good + good.replacing("label", with: "labels"), "t.jsonl:2:1", "no key \"label\""),
      (good + good.replacing("label", with: "text1"), "t.jsonl:2:40", "twice"),
      ("{\"a\": 1}", "t.jsonl:1:1", "no key \"#1 String\" or \"sentence1\" or \"text1\""),
      (good + "{\n}", "t.jsonl:2:2", "ends"), (good + good.dropLast() + good, "t.jsonl:2:51", "expected the end"),
      ("<!doctype html>", "t.jsonl", "web page"), (good + "\0", "t.jsonl:2:1", "NUL"),
    ])
  func faults(text: String, place: String, message: String) {
    let failure = failure { () throws(Failure) in try GLUETask.mrpc.parseLines(Array(text.utf8), path: "t.jsonl") }
    #expect(failure?.status == .badData)
    #expect(failure?.place == place)
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }
}
