import FileSystem
import Testing
import Tokenization

@Suite struct VocabularyTests {
  static let good = "[PAD]\n[UNK]\n[CLS]\n[SEP]\ncat\n##s\n"

  private func vocabulary(_ text: String) throws -> Vocabulary {
    try vocabulary(Array(text.utf8))
  }

  private func vocabulary(_ bytes: [UInt8]) throws -> Vocabulary {
    let folder = try TemporaryFolder()
    return try Vocabulary(contentsOf: folder.write(bytes, "vocab.txt"))
  }

  @Test(arguments: [
    good, String(good.dropLast()), "\u{FEFF}" + good, good.replacing("\n", with: "\r\n"),
    String(good.replacing("\n", with: "\r\n").dropLast()),
  ])
  func linesInEveryStyle(text: String) throws {
    let vocabulary = try vocabulary(text)
    #expect(vocabulary.count == 6)
    #expect(vocabulary.padID == 0 && vocabulary.unknownID == 1)
    #expect(vocabulary.classificationID == 2 && vocabulary.separatorID == 3)
    #expect(vocabulary.maskID == nil)
    #expect(vocabulary.id(of: "##s") == 5)
    #expect(vocabulary.id(of: "s") == nil && vocabulary.id(of: "##") == nil)
    #expect(vocabulary.token(4) == Array("cat".utf8))
  }

  @Test func tokensAreBytes() throws {
    let vocabulary = try vocabulary(Self.good + "\u{E9}\ne\u{301}\n")
    #expect(vocabulary.id(of: "\u{E9}") == 6)
    #expect(vocabulary.id(of: "e\u{301}") == 7)
  }

  @Test func manyTokensAreAllFound() throws {
    let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + (0..<50_000).map { "t\($0)" }
    let vocabulary = try Vocabulary(tokens: tokens.map { Array($0.utf8) }, path: "vocab.txt")
    #expect(tokens.enumerated().allSatisfy { vocabulary.id(of: $0.element) == Int32($0.offset) })
    #expect(vocabulary.id(of: "t50000") == nil)
  }

  @Test func orderChangesTheFingerprint() throws {
    let one = try vocabulary(Self.good)
    #expect(try one.fingerprint == vocabulary("\u{FEFF}" + Self.good).fingerprint)
    #expect(try one.fingerprint != vocabulary("[UNK]\n[PAD]\n[CLS]\n[SEP]\ncat\n##s\n").fingerprint)
    #expect(try one.fingerprint != vocabulary("[PAD]\n[UNK]\n[CLS]\n[SEP]\ncats\n##\n").fingerprint)
  }

  @Test(arguments: [
    ("", "", "is empty"), ("\u{FEFF}", "", "is empty"), (good + "cat\n", ":7", "on line 5 already"),
    (good + "\ndog\n", ":7", "blank line"), (good + "\n", ":7", "blank line"), ("\n" + good, ":1", "blank line"),
    (good.replacing("[PAD]", with: "pad"), "", "[PAD]"), (good.replacing("[UNK]", with: "x"), "", "[UNK]"),
    (good.replacing("[CLS]", with: "x"), "", "[CLS]"), (good.replacing("[SEP]", with: "x"), "", "[SEP]"),
    (good + "a\rb\n", ":7:2", "carriage return"), (good + "a\0b\n", ":7:2", "NUL"),
    (good + String(repeating: "x", count: 10_000_000), ":7", "10000000 bytes"),
  ])
  func faults(text: String, place: String, message: String) throws {
    try check(Array(text.utf8), place, message)
  }

  @Test func bytesThatAreNotUTF8() throws {
    for bad: [UInt8] in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE4, 0xB8]] {
      try check(Array((Self.good + "ok").utf8) + bad + [0x0A], ":7:3", "not UTF-8")
    }
  }

  @Test func missing() throws {
    let failure = failure { () throws(Failure) in try Vocabulary(contentsOf: "/nowhere/vocab.txt") }
    #expect(failure?.status == .missingInput)
    #expect(failure?.place == "/nowhere/vocab.txt")
  }

  private func check(_ bytes: [UInt8], _ place: String, _ message: String) throws {
    let folder = try TemporaryFolder()
    let path = try folder.write(bytes, "vocab.txt")
    let failure = failure { () throws(Failure) in try Vocabulary(contentsOf: path) }
    #expect(failure?.status == .badData)
    #expect(failure?.place == path + place)
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }
}
