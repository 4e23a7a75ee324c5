import JSON
import System

/// How `BertJapaneseTokenizer` spells a word, as far as it needs no dictionary of Japanese: words are cut by its basic
/// tokenizer, and all else it can be set to is refused by name.
///
/// It is the one tokenizer here that transformers runs in Python, and not in the `tokenizers` crate
/// (`models/bert_japanese/tokenization_bert_japanese.py`, version 5.24).
enum JapaneseSpelling: String, Sendable {
  case wordPieces = "wordpiece"
  case characters = "character"

  init(_ configuration: JSONNode?) throws(Failure) {
    func text(_ key: String, _ usual: String) throws(Failure) -> String {
      try configuration?.member(key)?.string() ?? usual
    }
    let hint = "the others need a dictionary or a model of their own; tokenize with transformers"
    if let node = try configuration?.member("word_tokenizer_type"), try node.string() != "basic" {
      throw node.unexpected("basic for BertJapaneseTokenizer", hint: hint)
    }
    guard let spelling = Self(rawValue: try text("subword_tokenizer_type", "wordpiece")) else {
      let node = try configuration?.member("subword_tokenizer_type")
      throw node?.unexpected("character or wordpiece for BertJapaneseTokenizer", hint: hint)
        ?? Failure(.configuration, "no subword_tokenizer_type")
    }
    for (key, expected) in [
      ("do_word_tokenize", true), ("do_subword_tokenize", true), ("do_lower_case", false),
      ("split_special_tokens", false),
    ] {
      if let node = try configuration?.member(key), try node.bool() != expected {
        throw node.unexpected("\(expected) for BertJapaneseTokenizer; the other is not supported")
      }
    }
    // Cut on the left, Python loses an empty second text altogether.
    if let node = try configuration?.member("truncation_side"), try node.string() != "right" {
      throw node.unexpected("\"right\" for BertJapaneseTokenizer; others are not supported")
    }
    if let node = try configuration?.member("never_split"), try !node.elements().isEmpty {
      throw node.unexpected("an empty list for BertJapaneseTokenizer; others are not supported")
    }
    self = spelling
  }
}

extension TokenizerRecipe {
  /// The tokenizer of vocab.txt as Python has it: all added tokens are found in the text as it is, and each must be in the
  /// vocabulary, for Python numbers others in a way of its own.
  init(
    japanese spelling: JapaneseSpelling, _ files: TokenizerFiles, _ tokens: TokenGathering, _ options: TokenizerOptions
  ) throws(Failure) {
    let path = files.path("vocab.txt")
    guard let text = files.bytes("vocab.txt") else {
      throw Failure(.missingInput, at: path, "is missing, and BertJapaneseTokenizer needs it")
    }
    vocabulary = try Vocabulary(text: text, path: path)
    settings = Settings(
      normalizer: .pythonBasic, preTokenizer: .pythonPunctuation,
      unknownToken: tokens.content("unk_token") ?? Array("None".utf8), spellsCharacters: spelling == .characters,
      splitsSpecials: false, truncatesLeft: false, maxLength: options.maxLength)
    settings.firstKeepsOddToken = true
    var added = tokens.tokensToAdd(after: settings.added)
    for index in added.indices {
      let content = added[index].content
      guard vocabulary.id(of: content) != nil, !added[index].isSingleWord else {
        throw Failure(
          .configuration, at: path, "the added token \(quoted(content)) is not in it, or is \"single_word\"",
          hint: "neither is supported for BertJapaneseTokenizer")
      }
      added[index].isNormalized = false
    }
    settings.added.add(added, to: vocabulary)
    func id(_ key: String) throws(Failure) -> Int32 {
      guard let content = tokens.content(key), let id = vocabulary.id(of: content) else {
        throw Failure(.configuration, at: path, "has no \(key), which BertJapaneseTokenizer puts into every row")
      }
      return id
    }
    settings.template = RowTemplate(classificationID: try id("cls_token"), separatorID: try id("sep_token"))
  }
}

/// What Python 3.11 knows of a scalar, which is Unicode 14.
enum Python {
  static func category(_ value: UInt32) -> Unicode.GeneralCategory {
    guard let properties = Unicode.Scalar(value)?.properties, let age = properties.age, age <= (14, 0) else {
      return .unassigned
    }
    return properties.generalCategory
  }

  static func combiningClass(_ value: UInt32) -> UInt8 {
    category(value) == .unassigned ? 0 : Unicode.Scalar(value)?.properties.canonicalCombiningClass.rawValue ?? 0
  }

  /// `_is_punctuation`.
  static func isPunctuation(_ value: UInt32) -> Bool {
    switch category(value) {
    case _ where value < 0x80: Tokenization.isPunctuation(value)
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
      .finalPunctuation, .otherPunctuation:
      true
    default: false
    }
  }
}

/// Python's basic tokenizer before it cuts: what is of a category "other" goes, white space becomes a blank, and the rest is
/// composed (NFC).
func pythonBasic(_ text: [UInt8]) -> [UInt8] {
  var kept: [UInt32] = []
  for value in text.withUnsafeBufferPointer(scalars) where value != 0xFFFD {
    switch Python.category(value) {
    case _ where value == 9 || value == 10 || value == 13: kept.append(0x20)
    case .spaceSeparator: kept.append(0x20)
    case .control, .format, .surrogate, .privateUse, .unassigned: continue
    default: kept.append(value)
    }
  }
  return encoded(UnicodeForm.nfc.normalized(kept, .python))
}

/// Whether Python's basic tokenizer cuts around a scalar.
func isPythonPunctuation(_ value: UInt32) -> Bool { Python.isPunctuation(value) }

extension WordPiece {
  /// Appends the characters of `word`, which is UTF-8, to `ids`, in compatibility form (NFKC).
  func appendCharacters(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    for value in UnicodeForm.nfkc.normalized(scalars(word), .python) {
      ids.append(vocabulary.id(of: encoded(CollectionOfOne(value))) ?? unknownID)
    }
  }
}
