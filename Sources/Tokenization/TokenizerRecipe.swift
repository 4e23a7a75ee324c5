import JSON
import System

/// All that decides the ids of a tokenizer, put together from the files of a folder as transformers 5 does it.
struct TokenizerRecipe: Sendable {
  var vocabulary: Vocabulary
  var settings: Settings
  /// Byte-pair encoding; nil for WordPiece.
  var pairs: BytePairs?
  var warnings: [String] = []
  /// Tokens that no file names, which transformers adds behind a vocabulary that lacks them.
  var impliedTokens: Set<[UInt8]> = []

  /// What decides ids beside the vocabulary.
  struct Settings: Sendable {
    var normalizer: Normalizer
    var preTokenizer = PreTokenizer.bert
    var unknownToken: [UInt8]
    var continuationPrefix = Array("##".utf8)
    /// Whether each character of a word is a piece.
    var spellsCharacters = false
    var longestWordCharacters = 100
    var template = RowTemplate.bare
    var added = AddedVocabulary()
    var splitsSpecials: Bool
    var truncatesLeft: Bool
    /// Who gets the odd token where both texts of a pair are cut to half: see ``longestFirst(_:_:room:isPair:firstKeepsOdd:)``.
    var firstKeepsOddToken = false
    var maxLength: Int?
    var padID: Int32 = 0

    /// All of it as text that is the same in every process: sets and dictionaries in order.
    var stableDescription: String {
      var rest = self
      rest.added = AddedVocabulary()
      let tokens = added.tokens.sorted { $0.key < $1.key }
      return "\(rest) \(tokens) \(added.specials.sorted { $0.lexicographicallyPrecedes($1) })"
    }
  }

  init(_ files: TokenizerFiles) throws(Failure) {
    let documents = try TokenizerDocuments(files)
    let kind = try TokenizerClass(
      configuration: documents.configuration, modelConfiguration: documents.modelConfiguration)
    let options = try TokenizerOptions(documents.configuration)
    let json = try documents.tokenizer.map { node throws(Failure) in try TokenizerJSON(node) }
    var tokens = try TokenGathering(documents)

    if kind.usesWholeTokenizerJSON {
      guard let json else {
        throw Failure(
          .missingInput, at: files.path("tokenizer.json"), "is missing, and tokenizer_class \(kind.name) needs it",
          hint: "where vocab.txt is BERT's, name BertTokenizer in tokenizer_config.json")
      }
      tokens.finish(defaults: [:], padding: json.paddingToken)
      try self.init(whole: json, tokens, options)
    } else if kind.isJapanese {
      tokens.finish(defaults: BertTokenizer.usualTokens, padding: nil)
      try self.init(japanese: JapaneseSpelling(documents.configuration), files, tokens, options)
      if json != nil { warnings.append("tokenizer.json is not read: BertJapaneseTokenizer reads vocab.txt") }
    } else if kind.isRoberta {
      tokens.finish(defaults: BertTokenizer.usualRobertaTokens, padding: nil)
      try self.init(roberta: json, files, tokens, options, documents)
    } else {
      try json?.requireWordPiece()
      tokens.finish(defaults: BertTokenizer.usualTokens, padding: nil)
      try self.init(vocabularyOf: json, files, tokens, options)
    }
    let types = options.returnsTokenTypes ?? kind.returnsTokenTypes
    if !types, settings.template != settings.template.withoutTypes {
      settings.template = settings.template.withoutTypes
      // DistilBERT has none.
      let isExpected = try documents.modelConfiguration?.member("model_type")?.string() == "distilbert"
      if !isExpected {
        warnings.append(
          "tokenizer_class \(kind.name) gives no token types (transformers 5; version 4 may): all tokens of a pair have "
            + "type 0")
      }
    }
    settings.truncatesLeft = options.truncatesLeft ?? json?.truncatesLeft ?? false
    warnings = tokens.warnings + warnings
    for key in options.ignored {
      warnings.append("\(key) of tokenizer_config.json does nothing, in transformers neither")
    }
    if let pad = tokens.content("pad_token"), let id = settings.added.id(of: pad, vocabulary) { settings.padID = id }
    noteNumbers(tokens)
    if let advice = settings.normalizer.advice(vocabulary) { warnings.append(advice) }
  }

  /// tokenizer.json as it is.
  private init(whole json: TokenizerJSON, _ tokens: TokenGathering, _ options: TokenizerOptions) throws(Failure) {
    vocabulary = try Vocabulary(json: json.vocabulary)
    settings = Settings(
      normalizer: try Normalizer(json.normalizer), preTokenizer: try PreTokenizer(json.preTokenizer),
      unknownToken: json.unknownToken, continuationPrefix: json.continuationPrefix,
      longestWordCharacters: json.longestWordCharacters, splitsSpecials: options.splitsSpecials, truncatesLeft: false,
      maxLength: options.maxLength)
    if let model = json.bytePairs {
      try usePairs(of: model)
    } else if settings.preTokenizer.hasByteLevel, let node = json.preTokenizer {
      throw node.failure("makes words of bytes for WordPiece (ByteLevel), which is not supported")
    }
    settings.added.add(json.addedTokens.map(\.token), to: vocabulary)
    settings.added.add(tokens.tokensToAdd(after: settings.added), to: vocabulary)
    if let node = json.postProcessor { settings.template = try RowTemplate(node) }
    for (id, token) in json.addedTokens {
      if let real = settings.added.ids[token.content], real != Int32(id) {
        warnings.append("tokenizer.json numbers \(quoted(token.content)) \(id); transformers gives it \(real)")
      }
    }
  }

  /// BERT's tokenizer over the vocabulary of tokenizer.json, or else of vocab.txt.
  private init(
    vocabularyOf json: TokenizerJSON?, _ files: TokenizerFiles, _ tokens: TokenGathering, _ options: TokenizerOptions
  ) throws(Failure) {
    let text = files.bytes("vocab.txt")
    if let json {
      vocabulary = try Vocabulary(json: json.vocabulary)
    } else if let text {
      vocabulary = try Vocabulary(text: text, path: files.path("vocab.txt"))
    } else {
      throw Failure(
        .missingInput, at: files.path("vocab.txt"), "is missing, and so is tokenizer.json",
        hint: "save_pretrained of the transformers tokenizer writes one of them")
    }
    let normalizer = Normalizer.bert(
      BertNormalizer(
        separatesIdeographs: options.separatesIdeographs, stripsAccents: options.stripsAccents,
        lowercases: options.lowercases))
    // A token that is null is the text "None" to Python.
    settings = Settings(
      normalizer: normalizer, unknownToken: tokens.content("unk_token") ?? Array("None".utf8),
      splitsSpecials: options.splitsSpecials, truncatesLeft: false, maxLength: options.maxLength)
    settings.added.add(tokens.tokensToAdd(after: settings.added), to: vocabulary)
    impliedTokens = Set(BertTokenizer.usualTokens.values.map { Array($0.utf8) })
    var classification = try templateID("cls_token", or: 2, tokens, files)
    let separator = try templateID("sep_token", or: 3, tokens, files)
    // The row is made by names, and of two equal ones the later counts.
    let none = Array("None".utf8)
    if tokens.content("cls_token") ?? none == tokens.content("sep_token") ?? none { classification = separator }
    settings.template = RowTemplate(classificationID: classification, separatorID: separator)
    if let json {
      if let text { noteOtherVocabulary(text, files) }
      noteUnused(json)
    }
  }

  /// The id of a token of the row; where the token is null, transformers takes the number that it has in BERT's files.
  private func templateID(
    _ key: String, or usual: Int32, _ tokens: TokenGathering, _ files: TokenizerFiles
  ) throws(Failure) -> Int32 {
    guard let content = tokens.content(key) else { return usual }
    guard !content.contains(UInt8(ascii: ":")), !content.contains(0x20), content.first != UInt8(ascii: "$") else {
      throw Failure(
        .configuration, at: files.path("tokenizer_config.json"),
        "\(key) is \(quoted(content)), expected a token without blank, colon and leading dollar sign",
        hint: "transformers cannot build a row of it")
    }
    return settings.added.id(of: content, vocabulary) ?? vocabulary.id(of: settings.unknownToken) ?? usual
  }

  // MARK: Warnings

  private mutating func noteOtherVocabulary(_ text: [UInt8], _ files: TokenizerFiles) {
    let other = try? Vocabulary(text: text, path: files.path("vocab.txt"))
    if other?.fingerprint == vocabulary.fingerprint { return }
    if let other, other.count == vocabulary.count,
      other.entries.allSatisfy({ vocabulary.id(of: Array($0.token)) == $0.id })
    {
      return
    }
    warnings.append("vocab.txt differs from the vocabulary of tokenizer.json, and is not read")
  }

  /// Says which parts of tokenizer.json transformers 5 does not use for BertTokenizer.
  private mutating func noteUnused(_ json: TokenizerJSON) {
    var parts: [String] = []
    func note<Part: Equatable>(_ name: String, _ part: Part?, _ used: Part) { if part != used { parts.append(name) } }
    note("normalizer", try? Normalizer(json.normalizer), settings.normalizer)
    note("pre_tokenizer", try? PreTokenizer(json.preTokenizer), settings.preTokenizer)
    if let node = json.postProcessor { note("post_processor", try? RowTemplate(node), settings.template) }
    note("unk_token", json.unknownToken, settings.unknownToken)
    note("continuing_subword_prefix", json.continuationPrefix, settings.continuationPrefix)
    note("max_input_chars_per_word", json.longestWordCharacters, settings.longestWordCharacters)
    guard !parts.isEmpty else { return }
    warnings.append(
      "\(parts.joined(separator: ", ")) of tokenizer.json differ from tokenizer_config.json and are not used, as in "
        + "transformers 5 with BertTokenizer")
  }

  private mutating func noteNumbers(_ tokens: TokenGathering) {
    for (number, token) in tokens.added.sorted(by: { $0.key < $1.key }) {
      if let id = settings.added.ids[token.content], Int(id) != number {
        warnings.append(
          "a file numbers the added token \(quoted(token.content)) \(number); transformers gives it \(id)")
      }
    }
  }
}

extension Normalizer {
  /// Whether letters always come out in lower case.
  private var lowercases: Bool {
    switch self {
    case .bert(let normalizer): normalizer.lowercases
    case .lowercase: true
    case .sequence(let parts): parts.contains { $0.lowercases }
    default: false
    }
  }

  /// A sentence that says what is odd about the vocabulary, or nil: capitals that lowercased text can never match.
  func advice(_ vocabulary: Vocabulary) -> String? {
    guard lowercases else { return nil }
    var capitals = 0
    for (token, _) in vocabulary.entries where token.first != UInt8(ascii: "[") {
      if token.contains(where: { (0x41...0x5A).contains($0) }) { capitals += 1 }
    }
    guard capitals * 20 > vocabulary.count else { return nil }
    return "text is lowercased, but \(capitals) of \(vocabulary.count) tokens have capitals: "
      + "is do_lower_case meant to be false?"
  }
}
