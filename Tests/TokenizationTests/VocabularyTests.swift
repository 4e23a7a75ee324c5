import System
import TestSupport
import Testing
import Tokenization

@Suite struct VocabularyTests {
  static let good = "[PAD]\n[UNK]\n[CLS]\n[SEP]\ncat\n##s\n"

  private func tokenizer(_ text: String) throws(Failure) -> BertTokenizer { try tokenizer(Array(text.utf8)) }

  private func tokenizer(_ bytes: [UInt8]) throws(Failure) -> BertTokenizer {
    try BertTokenizer(files: TokenizerFiles(folder: "f", contents: [("vocab.txt", bytes)]))
  }

  @Test(arguments: [
    good, String(good.dropLast()), good.replacing("\n", with: "\r\n"),
    String(good.replacing("\n", with: "\r\n").dropLast()), good.replacing("cat", with: "cat \t\u{3000}"),
  ])
  func linesInEveryStyle(text: String) throws {
    let tokenizer = try tokenizer(text)
    #expect(tokenizer.vocabulary.count == 6)
    #expect(tokenizer.padID == 0)
    #expect(try tokenizer.encode("cats CAT dog").inputIDs == [2, 4, 5, 4, 1, 3])
    #expect(tokenizer.vocabulary.id(of: "##s") == 5)
    #expect(tokenizer.vocabulary.id(of: "s") == nil && tokenizer.vocabulary.id(of: "##") == nil)
  }

  /// A blank line has a number too, and of equal tokens the last one counts.
  @Test(arguments: [
    ("\n", [2, 4, 5, 3]), ("\n\ndog\n", [2, 4, 5, 3]), ("cat\n", [2, 6, 5, 3]), ("cat \n", [2, 6, 5, 3]),
    ("\ncat\n", [2, 7, 5, 3]),
  ])
  func blankAndEqualLines(more: String, ids: [Int32]) throws {
    #expect(try tokenizer(Self.good + more).encode("cats").inputIDs == ids)
  }

  @Test func tokensAreBytes() throws {
    let vocabulary = try tokenizer(Self.good + "\u{E9}\ne\u{301}\n").vocabulary
    #expect(vocabulary.id(of: "\u{E9}") == 6)
    #expect(vocabulary.id(of: "e\u{301}") == 7)
  }

  @Test func manyTokensAreAllFound() throws {
    let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + (0..<50_000).map { "t\($0)" }
    let vocabulary = try tokenizer(tokens.joined(separator: "\n")).vocabulary
    #expect(tokens.enumerated().allSatisfy { vocabulary.id(of: $0.element) == Int32($0.offset) })
    #expect(vocabulary.id(of: "t50000") == nil)
  }

  @Test(arguments: [
    ("", "", "is empty"), ("\u{FEFF}" + good, ":1:1", "byte order mark"),
    (good.replacing("[UNK]", with: "x"), "", "[UNK]"), (good + "a\rb\n", ":7:2", "carriage return"),
    (good + "a\0b\n", ":7:2", "NUL"), (good + String(repeating: "x", count: 10_000_000), ":7", "10000000 bytes"),
  ])
  func faults(text: String, place: String, message: String) throws {
    check(Array(text.utf8), place, message)
  }

  @Test func bytesThatAreNotUTF8() throws {
    for bad: [UInt8] in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE4, 0xB8]] {
      check(Array((Self.good + "ok").utf8) + bad + [0x0A], ":7:3", "not UTF-8")
    }
  }

  /// 30 million lines would otherwise take gigabytes.
  @Test func moreTokensThanAnyModelHas() throws {
    check(Array((Self.good + String(repeating: "a\n", count: 1 << 22)).utf8), ":\(1 << 22 + 1)", "at most 4194304")
  }

  private func check(_ bytes: [UInt8], _ place: String, _ message: String) {
    let failure = failure { () throws(Failure) in try tokenizer(bytes) }
    #expect(failure?.status == .badData)
    #expect(failure?.place == "f/vocab.txt" + place)
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }
}
