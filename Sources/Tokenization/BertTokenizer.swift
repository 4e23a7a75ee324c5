import System

/// A text or a pair as the model reads it: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`.
public struct Encoding: Sendable, Equatable {
  /// [tokens]
  public var inputIDs: [Int32]
  /// [tokens], usually 0 up to and with the first separator, 1 after it.
  public var tokenTypeIDs: [Int32]
  public var count: Int { inputIDs.count }

  public init(inputIDs: [Int32] = [], tokenTypeIDs: [Int32] = []) {
    self.inputIDs = inputIDs
    self.tokenTypeIDs = tokenTypeIDs
  }

  mutating func append(_ ids: some Collection<Int32>, type: Int32) {
    inputIDs.append(contentsOf: ids)
    for _ in 0..<ids.count { tokenTypeIDs.append(type) }
  }

  /// Empties the row and keeps its memory.
  public mutating func removeAll() {
    inputIDs.removeAll(keepingCapacity: true)
    tokenTypeIDs.removeAll(keepingCapacity: true)
  }
}

/// BERT's tokenizer, or that of a model of its family (RoBERTa's byte-pair encoding): the same ids as transformers'
/// `AutoTokenizer` (version 5) gives for the same folder.
public struct BertTokenizer: Sendable {
  /// The names that BertTokenizer's special tokens have where no file names others.
  static let usualTokens = [
    "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
  ]

  public let vocabulary: Vocabulary
  /// What is odd about the files, and which of them are not followed, in sentences. File names and tokens in them come
  /// from outside: escape them before a terminal sees them.
  public let warnings: [String]
  /// A hash of all that decides ids; no defence against forgery. Made anew each time: it takes longer than reading
  /// a small folder.
  public var fingerprint: UInt64 {
    var hash = FNV1a(vocabulary.fingerprint)
    hash.add(settings.stableDescription.utf8)
    if let pairsFingerprint { hash.add("\(pairsFingerprint)".utf8) }
    return hash.value
  }

  /// The most tokens of a row where a caller gives no number; nil where there is no limit.
  public private(set) var maxLength: Int?
  /// The id that fills short rows of a padded batch: 0 where the model has no row for it.
  public let padID: Int32
  /// One more than the largest token type.
  public let tokenTypeCount: Int

  private let settings: TokenizerRecipe.Settings
  /// Of byte-pair encoding's pairs; nil for WordPiece.
  private let pairsFingerprint: UInt64?
  let template: RowTemplate
  let truncatesLeft: Bool
  let firstKeepsOddToken: Bool
  let reader: TextReader

  /// Reads the tokenizer files of `folder`.
  public init(folder: String) throws(Failure) {
    try self.init(files: TokenizerFiles(folder: folder))
  }

  /// The tokenizer that `files` describe.
  ///
  /// - Parameter rows: the rows of the model's word embedding, `vocab_size`. A vocabulary or an added token beyond them is
  ///   an error, and so is a text that spells a token that only transformers' defaults put there.
  public init(files: TokenizerFiles, rows: Int? = nil) throws(Failure) {
    let recipe = try TokenizerRecipe(files)
    settings = recipe.settings
    pairsFingerprint = recipe.pairs?.fingerprint
    if let rows { try recipe.requireRows(rows, files) }
    vocabulary = recipe.vocabulary
    warnings = recipe.warnings
    maxLength = settings.maxLength
    padID = if let rows, settings.padID >= rows { 0 } else { settings.padID }
    tokenTypeCount = Int(settings.template.types.max() ?? 0) + 1
    template = settings.template
    truncatesLeft = settings.truncatesLeft
    firstKeepsOddToken = settings.firstKeepsOddToken
    reader = try TextReader(recipe, files, rows: rows)
  }

  /// The same tokenizer, for rows of at most `length` tokens where a caller gives no number.
  public func limited(to length: Int) -> BertTokenizer {
    var other = self
    other.maxLength = min(maxLength ?? length, length)
    return other
  }

  /// The number of special tokens around one text or a pair.
  public func specialTokenCount(pair: Bool) -> Int {
    (pair ? template.pair : template.single).count { if case .token = $0 { true } else { false } }
  }

  /// Encodes a text, or a pair where `b` is given. See ``encode(_:_:maxLength:)-([UInt8],_,_)``.
  public func encode(_ a: String, _ b: String? = nil, maxLength: Int? = nil) throws(Failure) -> Encoding {
    try encode(Array(a.utf8), b.map { Array($0.utf8) }, maxLength: maxLength)
  }

  /// Encodes UTF-8 text `a`, or the pair of `a` and `b`; bytes that are not UTF-8 are passed over.
  ///
  /// More than `maxLength` tokens (the tokenizer's limit where it is nil), special ones included, are cut longest
  /// first. Throws `.usage` where `maxLength` has no room for the special tokens.
  public func encode(_ a: [UInt8], _ b: [UInt8]? = nil, maxLength: Int? = nil) throws(Failure) -> Encoding {
    var encoder = PairEncoder(self, maxLength: maxLength)
    var encoding = Encoding()
    try encoder.append(a, b, to: &encoding)
    return encoding
  }
}

/// Encodes many pairs one after the other with one set of buffers.
public struct PairEncoder {
  private let tokenizer: BertTokenizer
  private let maxLength: Int?
  private var scratch: TextReader.Scratch

  /// At most `maxLength` tokens a row, or the tokenizer's own limit where that is nil.
  public init(_ tokenizer: BertTokenizer, maxLength: Int? = nil) {
    self.tokenizer = tokenizer
    self.maxLength = maxLength ?? tokenizer.maxLength
    scratch = TextReader.Scratch(tokenizer.reader)
  }

  /// Appends the row of `a`, or of the pair `a`, `b`, to `encoding`. See ``BertTokenizer/encode(_:_:maxLength:)``.
  public mutating func append(_ a: [UInt8], _ b: [UInt8]?, to encoding: inout Encoding) throws(Failure) {
    let specialCount = tokenizer.specialTokenCount(pair: b != nil)
    if let maxLength, maxLength < max(specialCount, 1) {
      throw Failure(
        .usage, "the maximum length is \(maxLength), expected at least \(max(specialCount, 1)) for the special tokens")
    }
    scratch.removeAll()
    tokenizer.reader.read(a, into: &scratch)
    let aCount = scratch.ids.count
    if let b { tokenizer.reader.read(b, into: &scratch) }
    try tokenizer.reader.requireRows(scratch)
    let bCount = scratch.ids.count - aCount
    let (aKept, bKept) = longestFirst(
      aCount, bCount, room: maxLength.map { $0 - specialCount } ?? .max, isPair: b != nil,
      firstKeepsOdd: tokenizer.firstKeepsOddToken)
    let first = tokenizer.truncatesLeft ? scratch.ids[aCount - aKept..<aCount] : scratch.ids[..<aKept]
    let second = tokenizer.truncatesLeft ? scratch.ids.suffix(bKept) : scratch.ids[aCount..<aCount + bKept]

    for piece in b == nil ? tokenizer.template.single : tokenizer.template.pair {
      switch piece {
      case .first(let type): encoding.append(first, type: type)
      case .second(let type): encoding.append(second, type: type)
      case .token(let id, let type): encoding.append(CollectionOfOne(id), type: type)
      }
    }
  }
}

/// How many of `a` and `b` tokens stay in `room`: the longer one is cut first; where both must be cut each gets half, and
/// of an odd room the longer gets one more, of two equally long the second (the `tokenizers` crate's `longest_first`).
/// With `firstKeepsOdd`, where both are cut, the first gets the one more (`truncate_sequences` of transformers in Python).
func longestFirst(_ a: Int, _ b: Int, room: Int, isPair: Bool, firstKeepsOdd: Bool = false) -> (a: Int, b: Int) {
  guard isPair else { return (min(a, room), 0) }
  guard a > room || b > room - a else { return (a, b) }
  let short = min(a, b)
  if firstKeepsOdd {
    let removed = a + b - room
    let fromLonger = min(abs(a - b), removed)
    let fromFirst = (removed - fromLonger) / 2
    let fromSecond = removed - fromLonger - fromFirst
    return a > b ? (a - fromLonger - fromFirst, b - fromSecond) : (a - fromFirst, b - fromLonger - fromSecond)
  }
  let half = room / 2
  let (shortKept, longKept) = short <= half ? (short, room - short) : (half, room - half)
  return a > b ? (longKept, shortKept) : (shortKept, longKept)
}
