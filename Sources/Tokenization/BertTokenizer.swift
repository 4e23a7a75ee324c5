import FileSystem

/// A text or a pair as the model reads it: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`.
public struct Encoding: Sendable, Equatable {
  /// [tokens]
  public var inputIDs: [Int32]
  /// [tokens], 0 up to and with the first separator, 1 after it.
  public var tokenTypeIDs: [Int32]
  public var count: Int { inputIDs.count }

  public init(inputIDs: [Int32] = [], tokenTypeIDs: [Int32] = []) {
    self.inputIDs = inputIDs
    self.tokenTypeIDs = tokenTypeIDs
  }

  /// Empties the row and keeps its memory.
  public mutating func removeAll() {
    inputIDs.removeAll(keepingCapacity: true)
    tokenTypeIDs.removeAll(keepingCapacity: true)
  }
}

/// BERT's tokenizer, the same ids as Hugging Face's `BertTokenizer`: cleaning, ideographs, accents, case, punctuation,
/// WordPiece, and the special tokens where a text spells them out.
public struct BertTokenizer: Sendable {
  public let vocabulary: Vocabulary
  public let configuration: TokenizerConfiguration
  private let reader: WordReader

  /// Reads the tokenizer files of `folder`.
  public init(folder: String) throws(Failure) {
    try self.init(files: TokenizerFiles(folder: folder))
  }

  /// The tokenizer that `files` describe.
  public init(files: TokenizerFiles) throws(Failure) {
    guard let vocabulary = files.bytes("vocab.txt") else {
      throw Failure(
        .missingInput, at: files.path("vocab.txt"),
        files.bytes("tokenizer.json") == nil ? "is missing" : "is missing; tokenizer.json is there but is not read",
        hint: "save_vocabulary of the transformers tokenizer writes vocab.txt")
    }
    let configurationPath = files.path("tokenizer_config.json")
    let configuration =
      if let bytes = files.bytes("tokenizer_config.json") {
        try TokenizerConfiguration(json: bytes, path: configurationPath)
      } else { TokenizerConfiguration() }
    self.init(
      vocabulary: try Vocabulary(
        text: vocabulary, path: files.path("vocab.txt"), specialTokens: configuration.specialTokens),
      configuration: configuration)
  }

  /// A tokenizer over `vocabulary`, whose special tokens it uses.
  public init(vocabulary: Vocabulary, configuration: TokenizerConfiguration = TokenizerConfiguration()) {
    self.vocabulary = vocabulary
    self.configuration = configuration
    let names = vocabulary.specialTokens
    let specials = (names.required + [names.mask]).compactMap { name in
      vocabulary.id(of: name).map { (bytes: Array(name.utf8), id: $0) }
    }
    reader = WordReader(configuration, specials: specials)
  }

  /// A sentence that says what is odd about the vocabulary, or nil: capitals that lowercased text can never match.
  public var advice: String? {
    guard configuration.lowercases else { return nil }
    var capitals = 0
    for id in 0..<Int32(vocabulary.count) {
      let token = vocabulary.token(id)
      if token.first != UInt8(ascii: "["), token.contains(where: { (0x41...0x5A).contains($0) }) { capitals += 1 }
    }
    guard capitals * 20 > vocabulary.count else { return nil }
    return "text is lowercased, but \(capitals) of \(vocabulary.count) tokens have capitals: "
      + "is do_lower_case meant to be false?"
  }

  /// The number of special tokens around one text or a pair.
  public func specialTokenCount(pair: Bool) -> Int { pair ? 3 : 2 }

  /// Encodes a text, or a pair where `b` is given. See ``encode(_:_:maxLength:)-([UInt8],_,_)``.
  public func encode(_ a: String, _ b: String? = nil, maxLength: Int? = nil) throws(Failure) -> Encoding {
    try encode(Array(a.utf8), b.map { Array($0.utf8) }, maxLength: maxLength)
  }

  /// Encodes UTF-8 text `a`, or the pair of `a` and `b`; bytes that are not UTF-8 are passed over.
  ///
  /// More than `maxLength` tokens (the configuration's limit where it is nil), special ones included, are cut longest
  /// first. Throws `.usage` where `maxLength` has no room for the special tokens.
  public func encode(_ a: [UInt8], _ b: [UInt8]? = nil, maxLength: Int? = nil) throws(Failure) -> Encoding {
    var encoder = PairEncoder(self, maxLength: maxLength)
    var encoding = Encoding()
    try encoder.append(a, b, to: &encoding)
    return encoding
  }

  /// Appends the ids of `text`, without special tokens around it.
  func read(_ text: [UInt8], into scratch: inout TokenizerScratch) {
    text.withUnsafeBufferPointer { reader.read($0, into: &scratch, vocabulary) }
  }
}

/// Encodes many pairs one after the other with one set of buffers.
public struct PairEncoder {
  private let tokenizer: BertTokenizer
  private let maxLength: Int?
  private var scratch = TokenizerScratch()

  /// At most `maxLength` tokens a row, or the tokenizer's own limit where that is nil.
  public init(_ tokenizer: BertTokenizer, maxLength: Int? = nil) {
    self.tokenizer = tokenizer
    self.maxLength = maxLength ?? tokenizer.configuration.maxLength
  }

  /// Appends the row of `a`, or of the pair `a`, `b`, to `encoding`. See ``BertTokenizer/encode(_:_:maxLength:)``.
  public mutating func append(_ a: [UInt8], _ b: [UInt8]?, to encoding: inout Encoding) throws(Failure) {
    let specialCount = tokenizer.specialTokenCount(pair: b != nil)
    if let maxLength, maxLength < specialCount {
      throw Failure(
        .usage, "the maximum length is \(maxLength), expected at least \(specialCount) for the special tokens")
    }
    scratch.ids.removeAll(keepingCapacity: true)
    tokenizer.read(a, into: &scratch)
    let aCount = scratch.ids.count
    if let b { tokenizer.read(b, into: &scratch) }
    let (aKept, bKept) = longestFirst(
      aCount, scratch.ids.count - aCount, room: maxLength.map { $0 - specialCount } ?? .max, isPair: b != nil)

    let start = encoding.inputIDs.count
    encoding.inputIDs.append(tokenizer.vocabulary.classificationID)
    encoding.inputIDs.append(contentsOf: scratch.ids[..<aKept])
    encoding.inputIDs.append(tokenizer.vocabulary.separatorID)
    for _ in start..<encoding.inputIDs.count { encoding.tokenTypeIDs.append(0) }
    guard b != nil else { return }
    encoding.inputIDs.append(contentsOf: scratch.ids[aCount..<aCount + bKept])
    encoding.inputIDs.append(tokenizer.vocabulary.separatorID)
    for _ in 0...bKept { encoding.tokenTypeIDs.append(1) }
  }
}

/// How many of `a` and `b` tokens stay in `room`: the longer one is cut first; where both must be cut each gets half, and
/// of an odd room the longer gets one more, of two equally long the second (the `tokenizers` crate's `longest_first`).
func longestFirst(_ a: Int, _ b: Int, room: Int, isPair: Bool) -> (a: Int, b: Int) {
  guard isPair else { return (min(a, room), 0) }
  guard a > room || b > room - a else { return (a, b) }
  let short = min(a, b)
  let half = room / 2
  let (shortKept, longKept) = short <= half ? (short, room - short) : (half, room - half)
  return a > b ? (longKept, shortKept) : (shortKept, longKept)
}
