import System
import TestSupport
import Testing
import Tokenization

/// Tokenizer files that ask for more memory or time than any real one.
@Suite struct HostileTokenizerTests {
  private func general(_ parts: String) throws(Failure) -> BertTokenizer {
    try tokenizer([
      "tokenizer_config.json": "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}",
      "tokenizer.json": "{\(parts), \"model\": \(ConfigurationTests.wordPiece)}",
    ])
  }

  /// Sixty replacements of "a" by "aa" would make 2^60 bytes of one.
  @Test func textThatGrowsWithoutEnd() {
    let double = "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aa\"}"
    let parts = Array(repeating: double, count: 60).joined(separator: ",")
    let failure = failure { () throws(Failure) in
      try general("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [\(parts)]}")
    }
    #expect(failure?.message.contains("1000 times") == true, "\(failure?.message ?? "nothing thrown")")
  }

  @Test func rowsOfMillionsOfSpecialTokens() {
    let ids = Array(repeating: "1", count: 2000).joined(separator: ",")
    let piece = "{\"SpecialToken\": {\"id\": \"x\", \"type_id\": 0}}"
    let template =
      "{\"type\": \"TemplateProcessing\", \"single\": [\(piece)], \"pair\": [], \"special_tokens\": {\"x\": {\"ids\": [\(ids)]}}}"
    let failure = failure { () throws(Failure) in try general("\"post_processor\": \(template)") }
    #expect(failure?.message.contains("1000 pieces") == true, "\(failure?.message ?? "nothing thrown")")
  }

  @Test func moreAddedTokensThanAreSearchedFor() {
    let list = (0...10_000).map { "\"t\($0)\"" }.joined(separator: ",")
    let failure = failure { () throws(Failure) in try tokenizer("{\"extra_special_tokens\": [\(list)]}") }
    #expect(failure?.message.contains("10000") == true, "\(failure?.message ?? "nothing thrown")")
  }

  /// A blank that takes the blanks around it along would be measured anew at each of a million.
  @Test(.timeLimit(.minutes(5))) func aMillionBlanksThatAreTokens() throws {
    let token =
      "{\"__type\": \"AddedToken\", \"content\": \" \", \"lstrip\": true, \"rstrip\": true, \"special\": true}"
    let blank = try tokenizer("{\"extra_special_tokens\": [\(token)]}")
    let text = "cat" + String(repeating: " ", count: 1_000_000) + "dog"
    #expect(try blank.encode(text).inputIDs == [2, 5, 13, 7, 3])
  }
}
