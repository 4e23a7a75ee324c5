/// Takes the scalars of a normalized text, one after the other.
protocol ScalarSink {
  /// A blank between words.
  mutating func space(_ value: UInt32)
  /// Any other scalar.
  mutating func scalar(_ value: UInt32)
  /// An ASCII letter or digit: the fast way for ``scalar(_:)``.
  mutating func letter(_ byte: UInt8)
}

/// Hugging Face's BERT normalizer, in one pass: controls are dropped, ideographs set apart, accents stripped (canonical
/// decomposition, then marks removed), letters lowercased.
struct BertNormalizer: Sendable, Equatable {
  private enum Kind {
    static let dropped: UInt8 = 0
    static let space: UInt8 = 1
    static let letter: UInt8 = 2
    static let other: UInt8 = 3
    static let wide: UInt8 = 4
  }

  /// Combining marks that wait to be put in canonical order.
  typealias Marks = [(order: UInt8, value: UInt32)]

  let cleansText: Bool
  let separatesIdeographs: Bool
  let stripsAccents: Bool
  let lowercases: Bool
  /// What each byte starts.
  private let kinds: [UInt8]
  /// What each ASCII byte becomes.
  private let lowered: [UInt8]

  init(cleansText: Bool = true, separatesIdeographs: Bool, stripsAccents: Bool?, lowercases: Bool) {
    self.cleansText = cleansText
    self.separatesIdeographs = separatesIdeographs
    self.stripsAccents = stripsAccents ?? lowercases
    self.lowercases = lowercases
    kinds = (0...255).map { (byte: UInt8) in
      switch byte {
      case 0x09, 0x0A, 0x0D, 0x20: Kind.space
      case 0x0B, 0x0C: cleansText ? Kind.dropped : Kind.space
      case 0..<0x20, 0x7F: cleansText ? Kind.dropped : Kind.other
      case 0x80...: Kind.wide
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: Kind.letter
      default: Kind.other
      }
    }
    lowered = (0...255).map { (byte: UInt8) in lowercases && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }
  }

  /// Passes `text` (UTF-8; bytes that are not are dropped) on to `sink`. `marks` is memory that is empty before and after.
  func read(_ text: UnsafeBufferPointer<UInt8>, marks: inout Marks, into sink: inout some ScalarSink) {
    var index = 0
    while index < text.count {
      let byte = text[index]
      let kind = kinds[Int(byte)]
      if kind == Kind.wide {
        if let scalar = decodeScalar(text, at: index) {
          readWide(scalar.value, &marks, &sink)
          index += scalar.length
        } else {
          index += 1
        }
        continue
      }
      index += 1
      guard kind != Kind.dropped else { continue }
      if !marks.isEmpty { finish(&marks, &sink) }
      switch kind {
      case Kind.letter: sink.letter(lowered[Int(byte)])
      case Kind.space: sink.space(cleansText ? 0x20 : UInt32(byte))
      default: sink.scalar(UInt32(byte))
      }
    }
    finish(&marks, &sink)
  }

  /// A scalar from U+0080 on.
  private func readWide(_ value: UInt32, _ marks: inout Marks, _ sink: inout some ScalarSink) {
    if cleansText {
      if contains(value, UnicodeTables.dropped) { return }
      if contains(value, UnicodeTables.spaces) {
        finish(&marks, &sink)
        return sink.space(0x20)
      }
    }
    let isApart = separatesIdeographs && isIdeograph(value)
    if isApart {
      finish(&marks, &sink)
      sink.space(0x20)
    }
    if stripsAccents {
      strip(value, &marks, &sink)
    } else {
      pass(value, &sink)
    }
    if isApart {
      finish(&marks, &sink)
      sink.space(0x20)
    }
  }

  /// Decomposes `value` canonically and passes on what is no mark.
  private func strip(_ value: UInt32, _ marks: inout Marks, _ sink: inout some ScalarSink) {
    if contains(value, UnicodeTables.marks) {
      // A removed mark of class 0 still keeps those before it from being ordered with those after it.
      if !marks.isEmpty && combiningClass(value) == 0 { finish(&marks, &sink) }
      return
    }
    if (0xAC00...0xD7A3).contains(value) {
      return decomposeHangul(value) { combine($0, &marks, &sink) }
    }
    guard let index = position(of: value, in: UnicodeTables.foldedFrom) else { return combine(value, &marks, &sink) }
    for part in UnicodeTables.foldedTo[3 * index..<3 * index + 3] where part != 0 { combine(part, &marks, &sink) }
  }

  /// Puts combining marks that survive into canonical order: by class, in each run of classes other than 0.
  private func combine(_ value: UInt32, _ marks: inout Marks, _ sink: inout some ScalarSink) {
    let order = combiningClass(value)
    if order == 0 {
      finish(&marks, &sink)
      pass(value, &sink)
    } else {
      marks.append((order, value))
    }
  }

  private func finish(_ marks: inout Marks, _ sink: inout some ScalarSink) {
    guard !marks.isEmpty else { return }
    let sorted = marks.enumerated().sorted { ($0.element.order, $0.offset) < ($1.element.order, $1.offset) }
    marks.removeAll(keepingCapacity: true)
    for mark in sorted { pass(mark.element.value, &sink) }
  }

  /// The end of the way of a scalar.
  private func pass(_ value: UInt32, _ sink: inout some ScalarSink) {
    guard lowercases else { return emit(value, &sink) }
    lowercase(value) { emit($0, &sink) }
  }

  private func emit(_ value: UInt32, _ sink: inout some ScalarSink) {
    if value >= 0x80 && isWhiteSpace(value) { sink.space(value) } else { sink.scalar(value) }
  }
}

/// Hangul syllables are arithmetic (Unicode 16, section 3.12).
@inline(__always)
func decomposeHangul(_ value: UInt32, _ emit: (UInt32) -> Void) {
  let syllable = value - 0xAC00
  emit(0x1100 + syllable / 588)
  emit(0x1161 + syllable % 588 / 28)
  if syllable % 28 != 0 { emit(0x11A7 + syllable % 28) }
}
