/// Reads a text and cuts it into words as Hugging Face's BERT normalizer and pre-tokenizer do, in one pass: controls are
/// dropped, ideographs set apart, accents stripped (canonical decomposition, then marks removed), letters lowercased,
/// and punctuation made words of its own. Each word goes to `WordPiece` at once.
struct WordReader: Sendable {
  private enum Kind {
    static let dropped: UInt8 = 0
    static let space: UInt8 = 1
    static let punctuation: UInt8 = 2
    static let letter: UInt8 = 3
    static let wide: UInt8 = 4
    /// Set beside the others: a special token may start here.
    static let special: UInt8 = 0x80
  }

  /// What each byte starts.
  private var kinds: [UInt8]
  /// What each ASCII byte becomes.
  private var lowered: [UInt8]
  /// Special tokens in the text, the longest first.
  private let specials: [(bytes: [UInt8], id: Int32)]
  private let lowercases: Bool
  private let stripsAccents: Bool
  private let separatesIdeographs: Bool

  init(_ configuration: TokenizerConfiguration, specials: [(bytes: [UInt8], id: Int32)]) {
    lowercases = configuration.lowercases
    stripsAccents = configuration.stripsAccents ?? configuration.lowercases
    separatesIdeographs = configuration.separatesIdeographs
    self.specials = specials.sorted { $0.bytes.count > $1.bytes.count }
    kinds = (0...255).map { (byte: UInt8) in
      switch byte {
      case 0x09, 0x0A, 0x0D, 0x20: Kind.space
      case 0..<0x20, 0x7F: Kind.dropped
      case 0x80...: Kind.wide
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: Kind.letter
      default: Kind.punctuation
      }
    }
    for special in specials { kinds[Int(special.bytes[0])] |= Kind.special }
    lowered = (0...255).map { (byte: UInt8) in
      configuration.lowercases && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
    }
  }

  /// Appends the ids of `text` (UTF-8; bytes that are not are dropped) to `scratch.ids`.
  func read(_ text: UnsafeBufferPointer<UInt8>, into scratch: inout TokenizerScratch, _ vocabulary: Vocabulary) {
    var index = 0
    while index < text.count {
      let byte = text[index]
      var kind = kinds[Int(byte)]
      if kind & Kind.special != 0 {
        if let special = special(in: text, at: index) {
          finishMarks(&scratch, vocabulary)
          WordPiece.flush(&scratch, vocabulary)
          scratch.ids.append(special.id)
          index += special.bytes.count
          continue
        }
        kind &= ~Kind.special
      }
      if kind == Kind.wide {
        if let scalar = decodeScalar(text, at: index) {
          readWide(scalar.value, into: &scratch, vocabulary)
          index += scalar.length
        } else {
          index += 1
        }
        continue
      }
      index += 1
      guard kind != Kind.dropped else { continue }
      if !scratch.marks.isEmpty { finishMarks(&scratch, vocabulary) }
      if kind == Kind.letter {
        append(lowered[Int(byte)], to: &scratch)
      } else {
        WordPiece.flush(&scratch, vocabulary)
        if kind == Kind.punctuation {
          append(byte, to: &scratch)
          WordPiece.flush(&scratch, vocabulary)
        }
      }
    }
    finishMarks(&scratch, vocabulary)
    WordPiece.flush(&scratch, vocabulary)
  }

  private func special(in text: UnsafeBufferPointer<UInt8>, at index: Int) -> (bytes: [UInt8], id: Int32)? {
    specials.first { text[index...].starts(with: $0.bytes) }
  }

  @inline(__always)
  private func append(_ byte: UInt8, to scratch: inout TokenizerScratch) {
    if scratch.wordCharacterCount < WordPiece.longestWordCharacters { scratch.word.append(byte) }
    scratch.wordCharacterCount += 1
  }

  /// A scalar from U+0080 on.
  private func readWide(_ value: UInt32, into scratch: inout TokenizerScratch, _ vocabulary: Vocabulary) {
    if contains(value, UnicodeTables.dropped) { return }
    if contains(value, UnicodeTables.spaces) {
      finishMarks(&scratch, vocabulary)
      return WordPiece.flush(&scratch, vocabulary)
    }
    let isIdeograph = separatesIdeographs && Self.isIdeograph(value)
    if isIdeograph {
      finishMarks(&scratch, vocabulary)
      WordPiece.flush(&scratch, vocabulary)
    }
    if stripsAccents {
      strip(value, into: &scratch, vocabulary)
    } else {
      lowercase(value, into: &scratch, vocabulary)
    }
    if isIdeograph {
      finishMarks(&scratch, vocabulary)
      WordPiece.flush(&scratch, vocabulary)
    }
  }

  /// Decomposes `value` canonically and passes on what is no mark.
  private func strip(_ value: UInt32, into scratch: inout TokenizerScratch, _ vocabulary: Vocabulary) {
    if contains(value, UnicodeTables.marks) {
      // A removed mark of class 0 still keeps those before it from being ordered with those after it.
      if !scratch.marks.isEmpty && combiningClass(value) == 0 { finishMarks(&scratch, vocabulary) }
      return
    }
    if (0xAC00...0xD7A3).contains(value) {
      // Hangul syllables are arithmetic (Unicode 16, section 3.12).
      let syllable = value - 0xAC00
      combine(0x1100 + syllable / 588, into: &scratch, vocabulary)
      combine(0x1161 + syllable % 588 / 28, into: &scratch, vocabulary)
      if syllable % 28 != 0 { combine(0x11A7 + syllable % 28, into: &scratch, vocabulary) }
      return
    }
    guard let index = position(of: value, in: UnicodeTables.foldedFrom) else {
      return combine(value, into: &scratch, vocabulary)
    }
    for part in UnicodeTables.foldedTo[3 * index..<3 * index + 3] where part != 0 {
      combine(part, into: &scratch, vocabulary)
    }
  }

  /// Puts combining marks that survive into canonical order: by class, in each run of classes other than 0.
  private func combine(_ value: UInt32, into scratch: inout TokenizerScratch, _ vocabulary: Vocabulary) {
    let order = value < 0x300 ? 0 : combiningClass(value)
    if order == 0 {
      finishMarks(&scratch, vocabulary)
      lowercase(value, into: &scratch, vocabulary)
    } else {
      scratch.marks.append((order, value))
    }
  }

  private func finishMarks(_ scratch: inout TokenizerScratch, _ vocabulary: Vocabulary) {
    guard !scratch.marks.isEmpty else { return }
    let marks = scratch.marks.enumerated().sorted {
      ($0.element.order, $0.offset) < ($1.element.order, $1.offset)
    }
    scratch.marks.removeAll(keepingCapacity: true)
    for mark in marks { lowercase(mark.element.value, into: &scratch, vocabulary) }
  }

  /// The combining class of Unicode 9, which Hugging Face's normalization knows; later scalars have class 0 there.
  private func combiningClass(_ value: UInt32) -> UInt8 {
    guard let properties = Unicode.Scalar(value)?.properties, let age = properties.age, age.major <= 9 else {
      return 0
    }
    return properties.canonicalCombiningClass.rawValue
  }

  private func lowercase(_ value: UInt32, into scratch: inout TokenizerScratch, _ vocabulary: Vocabulary) {
    guard lowercases, let scalar = Unicode.Scalar(value), scalar.properties.changesWhenLowercased else {
      return emit(value, into: &scratch, vocabulary)
    }
    for part in scalar.properties.lowercaseMapping.unicodeScalars { emit(part.value, into: &scratch, vocabulary) }
  }

  /// The end of the way of a scalar: part of a word, or a word of its own.
  private func emit(_ value: UInt32, into scratch: inout TokenizerScratch, _ vocabulary: Vocabulary) {
    let isPunctuation =
      value < 0x80
      ? kinds[Int(value)] & ~Kind.special == Kind.punctuation : contains(value, UnicodeTables.punctuation)
    if isPunctuation { WordPiece.flush(&scratch, vocabulary) }
    if scratch.wordCharacterCount < WordPiece.longestWordCharacters, let scalar = Unicode.Scalar(value) {
      scratch.word.append(contentsOf: UTF8.encode(scalar)!)
    }
    scratch.wordCharacterCount += 1
    if isPunctuation { WordPiece.flush(&scratch, vocabulary) }
  }

  /// The blocks that BERT's `_is_chinese_char` lists.
  private static func isIdeograph(_ value: UInt32) -> Bool {
    switch value {
    case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
      0x2B920...0x2CEAF, 0x2F800...0x2FA1F:
      true
    default: false
    }
  }

  /// Whether `value` is in one of the `ranges`, pairs of first and last value in rising order.
  private func contains(_ value: UInt32, _ ranges: [UInt32]) -> Bool {
    var low = 0
    var high = ranges.count / 2
    while low < high {
      let middle = (low + high) / 2
      if value > ranges[2 * middle + 1] { low = middle + 1 } else { high = middle }
    }
    return low < ranges.count / 2 && value >= ranges[2 * low]
  }

  private func position(of value: UInt32, in values: [UInt32]) -> Int? {
    var low = 0
    var high = values.count
    while low < high {
      let middle = (low + high) / 2
      if values[middle] < value { low = middle + 1 } else { high = middle }
    }
    return low < values.count && values[low] == value ? low : nil
  }
}
