import JSON
import System
import Testing

struct JSONTests {
  private func document(_ text: String) throws(Failure) -> JSONDocument {
    try JSONDocument(Array(text.utf8), path: "f.json")
  }

  @Test func valuesAreReadByTheirKeys() throws {
    let root = try document(#"{"a": 1, "b": [true, null, -2.5e1], "c": {"d": "x\u00e4\ud83d\ude00\n"}}"#).root
    #expect(try root.member("a")?.int() == 1)
    let list = try #require(try root.member("b")).elements()
    try #require(list.count == 3)
    #expect(try list[0].bool())
    #expect(list[1].isNull)
    #expect(try list[2].double() == -25)
    #expect(try root.member("c")?.member("d")?.string() == "xä😀\n")
    #expect(try root.member("e") == nil)
    #expect(try root.members().map { String(decoding: $0.key, as: UTF8.self) } == ["a", "b", "c"])
  }

  @Test(
    "what other readers let pass is refused with its place",
    arguments: [
      ("{\"a\": 1,\n \"a\": 2}", "2:2: the key \"a\" is there twice"),
      (#"{"a": 1, "\u0061": 2}"#, "1:10: the key \"a\" is there twice"),
      ("{\"a\": 1,}", "1:9: \"}\", expected a key in quotation marks"),
      ("[1, 2,\n]", "2:1: \"]\", expected a value after \",\""),
      ("\u{FEFF}{}", "1:1: starts with a byte order mark, expected UTF-8 without one"),
      ("{\u{0}}", "1:1: is UTF-16 text, expected UTF-8"),
      ("[01]", "1:2: a number has a leading zero"), ("[1.]", "1:4: \"]\", expected a digit"),
      ("[NaN]", "1:2: \"N\", expected a value"), ("[-]", "1:3: \"]\", expected a digit"),
      ("{} {}", "1:4: \"{\", expected the end"), ("", "1:1: ends, expected a value"),
      ("{\"a\"", "1:5: ends, expected \":\" after a key"), ("// c\n{}", "1:1: \"/\", expected a value"),
      (#"["\ud800"]"#, "1:3: half a surrogate pair"), (#"["\ud800\u0041"]"#, "1:3: half a surrogate pair"),
      (#"["\udc00"]"#, "1:3: half a surrogate pair"), (#"["\x41"]"#, "1:3: an escape that JSON does not have"),
      ("[\"a\tb\"]", "1:4: a string has a control character; it is written \\u0009"),
      ("[\"a]", "1:2: a string does not end"), ("[tru]", "1:2: \"t\", expected a value"),
      ("{1: 2}", "1:2: \"1\", expected a key in quotation marks"), ("[1 2]", "1:4: \"2\", expected \",\" or \"]\""),
      (String(repeating: "[", count: 200), "1:129: is nested more than 128 deep"),
    ]) func refuses(_ text: String, _ message: String)
  {
    #expect(
      throws: Failure(
        .configuration, at: "f.json:\(message.prefix { $0 != " " }.dropLast())",
        String(message.drop { $0 != " " }.dropFirst()))
    ) {
      try document(text)
    }
  }

  @Test func bytesThatAreNotUTF8AreRefused() {
    #expect(throws: Failure(.badData, at: "f:1:2", "a string is not UTF-8")) {
      try JSONDocument([0x5B, 0x22, 0xC3, 0x28, 0x22, 0x5D], path: "f", status: .badData)
    }
  }

  @Test func keysThatOnlyLookAlikeAreTwo() throws {
    let root = try document("{\"\u{E4}\": 1, \"a\u{308}\": 2}").root
    #expect(try root.members().count == 2)
    #expect(try root.member("a\u{308}")?.int() == 2)
  }

  @Test func wrongTypesAreNamedWithTheirPlace() throws {
    let root = try document("{\"size\": 1.0,\n\"n\": {\"m\": \"x\"}, \"big\": 1e400}").root
    #expect(throws: Failure(.configuration, at: "f.json:1:10", "\"size\" is 1.0, expected a whole number")) {
      try root.member("size")?.int()
    }
    #expect(throws: Failure(.configuration, at: "f.json:2:12", "\"n.m\" is \"x\", expected true or false")) {
      try root.member("n")?.member("m")?.bool()
    }
    #expect(throws: Failure(.configuration, at: "f.json:2:25", "\"big\" is 1e400, expected a number")) {
      try root.member("big")?.double()
    }
    #expect(throws: Failure(.configuration, at: "f.json:1:10", "\"size\" is 1.0, expected an object")) {
      try root.member("size")?.member("x")
    }
  }

  @Test func whatIsWrittenAgainKeepsItsNumbersAndOrder() throws {
    let root = try document(#"{"z": 0.0, "a": [1e-12, 1], "e": {}, "s": "ä\u0007"}"#).root
    let text = JSONText.object([("first", .double(1)), ("read", .node(root)), ("none", .array([]))])
    #expect(
      String(decoding: text.bytes, as: UTF8.self) == """
        {
          "first": 1.0,
          "read": {
            "z": 0.0,
            "a": [
              1e-12,
              1
            ],
            "e": {},
            "s": "ä\\u0007"
          },
          "none": []
        }

        """)
  }

  @Test func aLargeObjectIsReadInProportionToItsSize() throws {
    let text = "{" + (0..<200_000).map { "\"token\($0)\": \($0)" }.joined(separator: ", ") + "}"
    let members = try document(text).root.members()
    #expect(members.count == 200_000)
  }
}
