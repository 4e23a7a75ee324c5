import Foundation
import System
import TestSupport
import Testing
import Tokenization

/// Each kind of file and key, alone. Ids were measured with transformers 5.24.
@Suite struct ConfigurationTests {
  @Test(arguments: [
    ("{}", "Cat [MASK] cafés", [2, 5, 4, 9, 6, 3]),
    ("{\"do_lower_case\": false}", "Cat [MASK] cafés", [2, 8, 4, 10, 6, 3]),
    ("{\"do_lower_case\": false, \"strip_accents\": true}", "Cat café", [2, 8, 9, 3]),
    ("{\"strip_accents\": false}", "CAFÉ", [2, 10, 3]),
    ("{\"tokenize_chinese_chars\": false}", "cat中 中", [2, 1, 11, 3]),
    ("{\"mask_token\": null}", "[MASK]", [2, 12, 1, 1, 3]),
    ("{\"split_special_tokens\": true}", "[SEP]", [2, 12, 1, 1, 3]),
    ("{\"truncation_side\": \"left\", \"model_max_length\": 4}", "cat dog cats", [2, 5, 6, 3]),
    ("{\"model_max_length\": 4}", "cat dog cats", [2, 5, 7, 3]),
    ("{\"max_len\": 3}", "cat dog cats", [2, 5, 3]),
    ("{\"model_max_length\": 1e30}", "cat dog", [2, 5, 7, 3]),
    ("{\"additional_special_tokens\": [\"cat\", \"x1\"]}", "Cat dogcatx1", [2, 5, 7, 5, 13, 3]),
    ("{\"extra_special_tokens\": {\"color\": \"x1\"}}", "x1", [2, 13, 3]),
    ("{\"color_token\": \"x1\"}", "x1", [2, 13, 3]),
    ("{\"cls_token\": \"dog\", \"sep_token\": \"cat\"}", "[CLS]", [7, 12, 1, 1, 5]),
    ("{\"cls_token\": null, \"sep_token\": null}", "cat", [3, 5, 3]),
    ("{\"cls_token\": null}", "cat", [2, 5, 3]),
    (
      "{\"added_tokens_decoder\": {\"99\": {\"content\": \"x1\", \"lstrip\": true, \"special\": true}}}", "cat  x1x1",
      [2, 5, 13, 13, 3]
    ),
    (
      "{\"added_tokens_decoder\": {\"7\": {\"content\": \"Dog\", \"single_word\": true, \"special\": false}}}",
      "DOG dog-dogs [SEP]", [2, 13, 13, 1, 7, 6, 3, 3]
    ),
  ])
  func keys(configuration: String, text: String, ids: [Int32]) throws {
    #expect(try tokenizer(configuration).encode(text).inputIDs == ids)
  }

  /// Python normalizes Japanese text by Unicode 14, the Rust tokenizers theirs by Unicode 9.
  @Test(arguments: [("㋿", [5, 6]), ("aꟴ", [7, 8]), ("\u{1FBF0}\u{1F16C}", [9, 10, 11]), ("\u{11938}", [12])])
  func compatibilityFormsOfJapaneseTextAreThoseOfPython(text: String, ids: [Int32]) throws {
    let folder = try TemporaryFolder()
    _ = try folder.write(
      """
      {"tokenizer_class": "BertJapaneseTokenizer", "do_lower_case": false, "word_tokenizer_type": "basic",
       "subword_tokenizer_type": "character"}
      """, "tokenizer_config.json")
    let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "令", "和", "a", "Q", "0", "M", "R", "\u{11938}"]
    _ = try folder.write(tokens.joined(separator: "\n"), "vocab.txt")
    #expect(try BertTokenizer(folder: folder.path).encode(text).inputIDs == [2] + ids + [3])
  }

  @Test func filesBesideTheConfiguration() throws {
    let map = ["special_tokens_map.json": "{\"cls_token\": \"cat\", \"additional_special_tokens\": [\"x1\"]}"]
    let mapped = try tokenizer("{\"cls_token\": \"dog\"}", map)
    #expect(try mapped.encode("x1 [CLS]").inputIDs == [5, 13, 12, 1, 1, 3])
    #expect(mapped.warnings.contains { $0.contains("special_tokens_map.json goes before tokenizer_config.json") })

    let unread = try tokenizer("{\"added_tokens_decoder\": {}}", map)
    #expect(try unread.encode("x1 [CLS]").inputIDs == [2, 1, 2, 3])
    #expect(unread.warnings.contains { $0.contains("special_tokens_map.json is not read") })

    let added = try tokenizer("{}", ["added_tokens.json": "{\"X1\": 13, \"x2\": 20}"])
    #expect(try added.encode("x1 x2").inputIDs == [2, 13, 14, 3])
    #expect(added.warnings.contains { $0.contains("numbers the added token \"x2\" 20; transformers gives it 14") })
  }

  @Test(arguments: [
    ("{", "ends"), ("", "ends"), ("{\"do_lower_case\": \"true\"}", "do_lower_case"),
    ("{\"do_lower_case\": null}", "do_lower_case"), ("{\"strip_accents\": 1}", "strip_accents"),
    ("{\"model_max_length\": \"512\"}", "model_max_length"), ("{\"model_max_length\": 0}", "at least 1"),
    ("{\"model_max_length\": -5}", "-5"), ("{\"model_max_length\": 2.5}", "2.5"),
    ("{\"cls_token\": \"\"}", "cls_token"),
    ("{\"cls_token\": 3}", "cls_token"), ("{\"cls_token\": {\"content\": \"[CLS]\"}}", "cls_token"),
    ("{\"cls_token\": \"a b\"}", "without blank"), ("{\"truncation_side\": \"top\"}", "truncation_side"),
    ("{\"vocab\": {\"a\": 0}}", "vocab"), ("{\"init_inputs\": [1]}", "init_inputs"),
    ("{\"fast_tokenizer_files\": [\"tokenizer.4.0.json\"]}", "tokenizer.4.0.json"),
    ("{\"tokenizer_class\": \"CamembertTokenizer\"}", "CamembertTokenizer"),
    ("{\"tokenizer_class\": \"BertJapaneseTokenizer\", \"word_tokenizer_type\": \"mecab\"}", "expected basic"),
    (
      "{\"tokenizer_class\": \"BertJapaneseTokenizer\", \"subword_tokenizer_type\": \"sentencepiece\"}",
      "expected character"
    ),
    ("{\"tokenizer_class\": \"BertJapaneseTokenizer\", \"do_lower_case\": true}", "expected false"),
    ("{\"tokenizer_class\": \"BertJapaneseTokenizer\", \"never_split\": [\"a\"]}", "an empty list"),
    ("[]", "an object"),
    ("{\"do_lower_case\": true, \"do_lower_case\": false}", "twice"), ("{\"do_lower_case\": true,}", "expected a key"),
  ])
  func faults(text: String, message: String) throws {
    let failure = failure { () throws(Failure) in try tokenizer(text) }
    #expect(failure?.status == .configuration)
    #expect(failure?.place?.hasPrefix("folder/tokenizer_config.json") == true)
    #expect(failure?.description.contains(message) == true, "\(failure?.description ?? "nothing thrown")")
  }

  @Test func otherKindsAreRefusedByName() throws {
    for (files, config, name) in [
      (
        ["vocab.txt": smallVocabulary], "{\"model_type\": \"bert\", \"tokenizer_class\": \"GPT2Tokenizer\"}",
        "GPT2Tokenizer"
      ),
      (["vocab.txt": smallVocabulary], "{\"model_type\": \"gpt2\"}", "gpt2"),
      (["tokenizer.json": "{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}"], nil, "BPE"),
      (["tokenizer.json": "{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}"], nil, "Unigram"),
      (["tokenizer.json": "{\"model\": {\"type\": \"WordLevel\", \"vocab\": {}}}"], nil, "WordLevel"),
      (["tokenizer.json": "{\"model\": {\"vocab\": {}, \"merges\": []}}"], nil, "not WordPiece"),
    ] as [([String: String], String?, String)] {
      let failure = failure { () throws(Failure) in try tokenizer(files, config: config) }
      #expect(failure?.status == .configuration)
      #expect(failure?.description.contains(name) == true, "\(failure?.description ?? "nothing thrown")")
    }
  }

  @Test func partsThatAreNotKnownAreRefusedByName() throws {
    for (part, name) in [
      ("\"normalizer\": {\"type\": \"Precompiled\"}", "Precompiled"),
      ("\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a+\"}, \"content\": \"\"}", "pattern"),
      ("\"pre_tokenizer\": {\"type\": \"Metaspace\"}", "Metaspace"),
      ("\"post_processor\": {\"type\": \"ByteLevel\"}", "ByteLevel"),
    ] {
      let failure = failure { () throws(Failure) in
        try tokenizer([
          "tokenizer_config.json": "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}",
          "tokenizer.json": "{\(part), \"model\": \(Self.wordPiece)}",
        ])
      }
      #expect(failure?.description.contains(name) == true, "\(failure?.description ?? "nothing thrown")")
    }
  }

  static let wordPiece = """
    {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
     "vocab": {"[UNK]": 0, "cat": 1, "##s": 2, "Cat": 7}}
    """

  /// BertTokenizer takes the vocabulary of tokenizer.json and nothing else of it; the general class takes all.
  @Test func tokenizerJSON() throws {
    let json =
      "{\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}, \"model\": \(Self.wordPiece)}"
    let files = ["tokenizer.json": json, "vocab.txt": smallVocabulary]
    let bert = try tokenizer(files)
    #expect(try bert.encode("Cats").inputIDs == [6, 1, 2, 4])
    #expect(bert.warnings.contains { $0.contains("vocab.txt differs") })
    #expect(bert.warnings.contains { $0.contains("normalizer, pre_tokenizer of tokenizer.json") })
    let general = try tokenizer(
      files.merging(["tokenizer_config.json": "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}"]) { $1 })
    #expect(try general.encode("Cats cat.", "cat") == Encoding(inputIDs: [7, 2, 0, 1], tokenTypeIDs: [0, 0, 0, 0]))
    #expect(general.warnings.contains { $0.contains("no token types") })
  }

  @Test func foldersThatAreNotThere() throws {
    let folder = try TemporaryFolder()
    let nowhere = failure { () throws(Failure) in try BertTokenizer(folder: "\(folder.path)/nowhere") }
    #expect(nowhere?.status == .missingInput)
    let empty = failure { () throws(Failure) in try BertTokenizer(folder: folder.path) }
    #expect(empty?.status == .missingInput)
    #expect(empty?.place == "\(folder.path)/vocab.txt")
  }

  @Test func tokensWithoutARowOfTheModel() throws {
    let files = ["vocab.txt": smallVocabulary, "tokenizer_config.json": "{\"additional_special_tokens\": [\"x1\"]}"]
    #expect(try tokenizer(files, rows: 14).encode("x1").inputIDs == [2, 13, 3])
    let beyond = failure { () throws(Failure) in try tokenizer(files, rows: 13) }
    #expect(beyond?.status == .badData && beyond?.message.contains("\"x1\" has the id 13") == true)
    let small = failure { () throws(Failure) in try tokenizer(["vocab.txt": smallVocabulary], rows: 12) }
    #expect(small?.message.contains("13 tokens, expected at most 12") == true)
    // Without [MASK] in the vocabulary transformers numbers it behind; only a text that spells it is at fault.
    let maskless = ["vocab.txt": smallVocabulary.replacing("[MASK]", with: "mask")]
    let masklessTokenizer = try tokenizer(maskless, rows: 13)
    #expect(try masklessTokenizer.encode("mask").inputIDs == [2, 4, 3])
    let spelled = failure { () throws(Failure) in try masklessTokenizer.encode("a [MASK]") }
    #expect(spelled?.message.contains("\"[MASK]\"") == true && spelled?.message.contains("13 rows") == true)
    let general = [
      "tokenizer_config.json": "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}",
      "tokenizer.json": """
      {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 900]}, "model": \(Self.wordPiece)}
      """,
    ]
    let template = failure { () throws(Failure) in try tokenizer(general, rows: 10) }
    #expect(template?.message.contains("id 900") == true)
  }

  /// Transformers, 4.49 as 5.24, numbers a [PAD] that the vocabulary lacks behind it.
  @Test func vocabularyWithoutPadding() throws {
    let files = ["vocab.txt": smallVocabulary.replacing("[PAD]", with: "zzz")]
    let free = try tokenizer(files)
    #expect(try free.encode("zzz [PAD] cat [MASK]").inputIDs == [2, 0, 13, 5, 4, 3])
    #expect(free.padID == 13)
    let bound = try tokenizer(files, rows: 13)
    #expect(try bound.encode("zzz cat").inputIDs == [2, 0, 5, 3])
    #expect(bound.padID == 0, "a padded row must not read beyond the embedding")
    let spelled = failure { () throws(Failure) in try bound.encode("a [PAD]") }
    #expect(spelled?.message.contains("\"[PAD]\"") == true && spelled?.message.contains("13 rows") == true)
  }

  @Test func fingerprintCoversAllThatDecidesIDs() throws {
    let configurations = [
      "{}", "{\"do_lower_case\": false}", "{\"strip_accents\": false}", "{\"model_max_length\": 9}",
      "{\"truncation_side\": \"left\"}", "{\"split_special_tokens\": true}", "{\"cls_token\": \"cat\"}",
      "{\"additional_special_tokens\": [\"x1\"]}", "{\"additional_special_tokens\": [\"x2\"]}",
      "{\"additional_special_tokens\": [{\"__type\": \"AddedToken\", \"content\": \"x1\", \"lstrip\": true}]}",
      "{\"tokenizer_class\": \"DistilBertTokenizer\"}",
    ]
    var fingerprints = try configurations.map { try tokenizer($0).fingerprint }
    fingerprints.append(try tokenizer("{}", ["vocab.txt": smallVocabulary + "bird\n"]).fingerprint)
    #expect(Set(fingerprints).count == configurations.count + 1)
    #expect(try tokenizer("{\"do_lower_case\": true}").fingerprint == fingerprints[0])
  }

  @Test func casedVocabularyWithLowercasedText() throws {
    let cased = ["vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\nCat\nDog\ncat\n"]
    #expect(try tokenizer(cased).warnings.contains { $0.contains("2 of 7") })
    #expect(
      try tokenizer(cased.merging(["tokenizer_config.json": "{\"do_lower_case\": false}"]) { $1 }).warnings.isEmpty)
  }

  @Test func fineFoldersGiveNoWarning() throws {
    for name in ["uncased", "minilm", "saved-by-4", "saved-by-5", "multilingual"] {
      #expect(
        try BertTokenizer(folder: "\(goldens)/\(name)").warnings.filter { !$0.contains("capitals") } == [], "\(name)")
    }
  }
}
