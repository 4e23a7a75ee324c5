import JSON
import System

// transformers' `models/roberta/tokenization_roberta.py` (5.24): byte-pair encoding over bytes, without a normalizer, in rows
// `<s> a </s>` and `<s> a </s></s> b </s>`.

extension BertTokenizer {
  /// The names that RobertaTokenizer's special tokens have where no file names others.
  static let usualRobertaTokens = [
    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>",
    "cls_token": "<s>", "mask_token": "<mask>",
  ]
}

extension TokenizerRecipe {
  /// RoBERTa's tokenizer over the vocabulary and the pairs of tokenizer.json, or else of vocab.json and merges.txt.
  init(
    roberta json: TokenizerJSON?, _ files: TokenizerFiles, _ tokens: TokenGathering, _ options: TokenizerOptions,
    _ documents: TokenizerDocuments
  ) throws(Failure) {
    let addsPrefixSpace = try documents.configuration?.rawMember("add_prefix_space")?.bool() ?? false
    let merges: [Merge]
    if let json {
      guard let model = json.bytePairs else {
        throw json.vocabulary.failure("belongs to WordPiece, expected BPE as RobertaTokenizer has it")
      }
      vocabulary = try Vocabulary(json: json.vocabulary)
      merges = try readMerges(json: model.requiredMember("merges"))
    } else {
      func require(_ name: String) throws(Failure) -> [UInt8] {
        if let bytes = files.bytes(name) { return bytes }
        throw Failure(
          .missingInput, at: files.path(name), "is missing, and so is tokenizer.json",
          hint: "RobertaTokenizer needs vocab.json with merges.txt, or tokenizer.json")
      }
      let path = files.path("vocab.json")
      vocabulary = try Vocabulary(json: JSONDocument(try require("vocab.json"), path: path).root)
      merges = try readMerges(text: require("merges.txt"), path: files.path("merges.txt"))
    }
    settings = Settings(
      normalizer: .none, preTokenizer: .byteLevel(addsPrefixSpace: addsPrefixSpace, usesExpression: true),
      unknownToken: [], continuationPrefix: [], longestWordCharacters: .max, splitsSpecials: options.splitsSpecials,
      truncatesLeft: false, maxLength: options.maxLength)
    pairs = try BytePairs(vocabulary, merges: merges, path: files.path(json == nil ? "merges.txt" : "tokenizer.json"))
    settings.added.add(tokens.tokensToAdd(after: settings.added), to: vocabulary)
    impliedTokens = Set(BertTokenizer.usualRobertaTokens.values.map { Array($0.utf8) })
    settings.template = RowTemplate(
      robertaStart: try rowToken("cls_token", tokens, files), end: try rowToken("sep_token", tokens, files))
    if let json { noteUnused(robertas: json) }
  }

  private func rowToken(_ key: String, _ tokens: TokenGathering, _ files: TokenizerFiles) throws(Failure) -> Int32 {
    guard let content = tokens.content(key), let id = settings.added.id(of: content, vocabulary) else {
      throw Failure(
        .configuration, at: files.path("tokenizer_config.json"),
        "\(key) is null, expected the token that RobertaTokenizer puts into every row")
    }
    return id
  }

  /// Takes the pairs of a tokenizer.json that counts as a whole, and what else its model says.
  mutating func usePairs(of model: JSONNode) throws(Failure) {
    for (key, usual) in [("dropout", "null"), ("continuing_subword_prefix", "\"\""), ("end_of_word_suffix", "\"\"")] {
      guard let node = try model.member(key) else { continue }
      if key != "dropout", try node.utf8().isEmpty { continue }
      throw node.unexpected("\(usual); others are not supported")
    }
    for key in ["byte_fallback", "ignore_merges"] {
      if let node = try model.member(key), try node.bool() { throw node.unexpected("false; true is not supported") }
    }
    guard settings.preTokenizer.isByteLevel else {
      throw model.failure("is BPE without the pre-tokenizer ByteLevel, which is not supported")
    }
    if settings.preTokenizer.addsPrefixSpace, case .sequence = settings.preTokenizer {
      throw model.failure("goes with a sequence of pre-tokenizers that adds blanks, which is not supported")
    }
    var unknownID: Int32?
    if let node = try model.member("unk_token") {
      unknownID = vocabulary.id(of: try node.utf8())
      if unknownID == nil { throw node.unexpected("a token of the vocabulary") }
    }
    pairs = try BytePairs(
      vocabulary, merges: readMerges(json: model.requiredMember("merges")), unknownID: unknownID,
      fusesUnknown: try model.member("fuse_unk")?.bool() ?? false, path: model.place)
  }

  /// Says which parts of tokenizer.json transformers 5 does not use for RobertaTokenizer.
  private mutating func noteUnused(robertas json: TokenizerJSON) {
    var parts: [String] = []
    if json.normalizer != nil { parts.append("normalizer") }
    if (try? PreTokenizer(json.preTokenizer)) != settings.preTokenizer { parts.append("pre_tokenizer") }
    if let node = json.postProcessor, (try? RowTemplate(node)) != settings.template { parts.append("post_processor") }
    guard !parts.isEmpty else { return }
    warnings.append(
      "\(parts.joined(separator: ", ")) of tokenizer.json differ from what RobertaTokenizer has and are not used, as in "
        + "transformers 5")
  }
}
