import System
import TestSupport
import Testing
import Tokenization

@Suite struct GoldenTests {
  @Test(
    .needs(.reference),
    arguments: [("edge_cases", 43), ("truncation", 60), ("mrpc_dev_pairs", 200)])
  func sameIDsAsBertBaseUncased(file: String, count: Int) throws {
    let tokenizer = try BertTokenizer(folder: Golden.inReference("data/bert-base-uncased"))
    let cases = try cases(Golden.inReference("golden/tokenizer/\(file).jsonl"))
    #expect(cases.count == count)
    let wrong = try differences(cases, tokenizer, defaultLength: 512)
    #expect(wrong.isEmpty, "\(wrong.count): \(wrong.prefix(3).joined(separator: "; "))")
  }

  /// The bound is ten times what one core needs here, so that a busy machine passes.
  @Test(.needs(.reference))
  func readsAMegabyteInUnderASecond() throws {
    let tokenizer = try BertTokenizer(folder: Golden.inReference("data/bert-base-uncased"))
    let text = try readBytes(Golden.inReference("data/glue/MRPC/train.tsv"))
    let seconds = try computingSeconds { _ = try tokenizer.encode(text, maxLength: 512) }
    #expect(seconds < 1)
  }

  /// Canonical ordering by insertion would need hours.
  @Test func aMillionMarksOnOneLetter() throws {
    let tokenizer = try BertTokenizer(folder: "\(goldens)/uncased")
    var text = "a"
    for index in 0..<1_000_000 { text.unicodeScalars.append(index % 2 == 0 ? "\u{302E}" : "\u{1D165}") }
    var ids: [Int32] = []
    let seconds = try computingSeconds { ids = try tokenizer.encode(text).inputIDs }
    #expect(ids == [2, 1, 3])
    #expect(seconds < 20)
  }

  @Test func bytesThatAreNotUTF8ArePassedOver() throws {
    let tokenizer = try BertTokenizer(folder: "\(goldens)/uncased")
    let bad: [[UInt8]] = [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE4, 0xB8], [0x80]]
    for bytes in bad {
      #expect(try tokenizer.encode(Array("cat ".utf8) + bytes + Array(" dog".utf8)) == tokenizer.encode("cat dog"))
    }
    #expect(try tokenizer.encode(Array("cat".utf8) + [0xF0, 0x9F]) == tokenizer.encode("cat"))
  }

  @Test func noRoomForSpecialTokens() throws {
    let tokenizer = try BertTokenizer(folder: "\(goldens)/uncased")
    for (b, length) in [(nil, 1), ("dog", 2), (nil, 0), (nil, -1), (nil, Int.min)] as [(String?, Int)] {
      let failure = failure { () throws(Failure) in try tokenizer.encode("cat", b, maxLength: length) }
      #expect(failure?.status == .usage)
      #expect(failure?.description.contains("\(length)") == true)
    }
    #expect(try tokenizer.encode("cat", maxLength: 2).inputIDs == [2, 3])
    #expect(
      try tokenizer.encode("cat", "dog", maxLength: 3) == Encoding(inputIDs: [2, 3, 3], tokenTypeIDs: [0, 0, 1]))
  }
}
