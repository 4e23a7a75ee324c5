import FileSystem
import Testing
import Tokenization

@Suite struct ConfigurationTests {
  private func configuration(_ text: String) throws -> TokenizerConfiguration {
    let folder = try TemporaryFolder()
    return try TokenizerConfiguration(contentsOf: folder.write(text, "tokenizer_config.json"))
  }

  @Test func everyKey() throws {
    let read = try configuration(
      """
      {"do_lower_case": false, "strip_accents": true, "tokenize_chinese_chars": false, "model_max_length": 128,
       "tokenizer_class": "BertTokenizer", "cls_token": "<s>", "sep_token": {"content": "</s>", "lstrip": false},
       "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>", "backend": "tokenizers", "is_local": true}
      """)
    var expected = TokenizerConfiguration()
    expected.lowercases = false
    expected.stripsAccents = true
    expected.separatesIdeographs = false
    expected.maxLength = 128
    expected.specialTokens.classification = "<s>"
    expected.specialTokens.separator = "</s>"
    expected.specialTokens.unknown = "<unk>"
    expected.specialTokens.pad = "<pad>"
    expected.specialTokens.mask = "<mask>"
    #expect(read == expected)
  }

  @Test func initialValues() throws {
    #expect(try configuration("{}") == TokenizerConfiguration())
    #expect(try configuration("{\"strip_accents\": null, \"mask_token\": null}") == TokenizerConfiguration())
    #expect(try configuration("{\"model_max_length\": 1000000000000000019884624838656}").maxLength == nil)
  }

  @Test(arguments: [
    ("{", "not JSON"), ("", "not JSON"), ("{\"do_lower_case\": \"true\"}", "do_lower_case"),
    ("{\"strip_accents\": 1}", "strip_accents"), ("{\"model_max_length\": \"512\"}", "model_max_length"),
    ("{\"model_max_length\": 0}", "at least 1"), ("{\"model_max_length\": -5}", "-5"),
    ("{\"cls_token\": \"\"}", "cls_token"), ("{\"cls_token\": 3}", "cls_token"),
    ("{\"tokenizer_class\": \"RobertaTokenizer\"}", "RobertaTokenizer"), ("[]", "wrong type"),
  ])
  func faults(text: String, message: String) throws {
    let folder = try TemporaryFolder()
    let path = try folder.write(text, "tokenizer_config.json")
    let failure = failure { () throws(Failure) in try TokenizerConfiguration(contentsOf: path) }
    #expect(failure?.status == .configuration)
    #expect(failure?.place == path)
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }

  @Test func folderWithItsOwnSpecialTokens() throws {
    let folder = try TemporaryFolder()
    _ = try folder.write("<pad>\n<s>\n</s>\n<unk>\nCat\n##S\n", "vocab.txt")
    _ = try folder.write(
      """
      {"do_lower_case": false, "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
       "model_max_length": 5}
      """, "tokenizer_config.json")
    let tokenizer = try BertTokenizer(folder: folder.path)
    #expect(try tokenizer.encode("CatS</s>").inputIDs == [1, 4, 5, 2, 2])
    #expect(try tokenizer.encode("Cat Cat Cat Cat Cat").inputIDs == [1, 4, 4, 4, 2])
    #expect(try tokenizer.encode("cat [CLS]").inputIDs == [1, 3, 3, 3, 2])
  }

  @Test func folderWithoutConfiguration() throws {
    let folder = try TemporaryFolder()
    _ = try folder.write(VocabularyTests.good, "vocab.txt")
    #expect(try BertTokenizer(folder: folder.path).encode("CATS").inputIDs == [2, 4, 5, 3])
  }

  @Test func foldersThatAreNotThere() throws {
    let folder = try TemporaryFolder()
    let nowhere = failure { () throws(Failure) in try BertTokenizer(folder: "\(folder.path)/nowhere") }
    #expect(nowhere?.status == .missingInput)
    let empty = failure { () throws(Failure) in try BertTokenizer(folder: folder.path) }
    #expect(empty?.status == .missingInput)
    #expect(empty?.place == "\(folder.path)/vocab.txt")
  }

  @Test func casedVocabularyWithLowercasedText() throws {
    let cased = try Vocabulary(
      tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Cat", "Dog", "cat"].map { Array($0.utf8) }, path: "vocab.txt")
    #expect(BertTokenizer(vocabulary: cased).advice?.contains("2 of 7") == true)
    var configuration = TokenizerConfiguration()
    configuration.lowercases = false
    #expect(BertTokenizer(vocabulary: cased, configuration: configuration).advice == nil)
  }
}
