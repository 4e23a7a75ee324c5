// GPT-2's way from a text to words of bytes: `encoder.py` of its code, `ByteLevel` of the `tokenizers` crate.

/// The scalar that stands for a byte in the vocabulary: the byte's own where that is a visible character of Latin-1, else
/// the next one from U+0100 on.
func byteScalar(_ byte: UInt8) -> UInt32 {
  switch byte {
  case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: UInt32(byte)
  case ...0x20: 0x100 + UInt32(byte)
  case 0x7F...0xA0: 0x121 + UInt32(byte - 0x7F)
  default: 0x143  // 0xAD
  }
}

/// What GPT-2's regular expression tells apart.
private enum ScalarKind {
  case letter, number, space, other

  @inline(__always)
  init(_ value: UInt32) {
    switch value {
    case 0x41...0x5A, 0x61...0x7A: self = .letter
    case 0x30...0x39: self = .number
    case 0x20, 0x09...0x0D: self = .space
    case ..<0x80: self = .other
    case _ where contains(value, CategoryTables.letters): self = .letter
    case _ where contains(value, CategoryTables.numbers): self = .number
    case _ where isWhiteSpace(value): self = .space
    default: self = .other
    }
  }
}

/// Cuts `range` of `text`, which is UTF-8, as GPT-2's regular expression does:
///
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
///
/// Nothing is left out: all that is not white space is a run of one kind, with one blank before it where there is one.
func cutLikeGPT2(_ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> [Range<Int>] {
  var words: [Range<Int>] = []
  var start = range.lowerBound
  /// The kind and the end of the scalar at `index`; nil at the end.
  func scalar(_ index: Int) -> (kind: ScalarKind, end: Int)? {
    guard index < range.upperBound else { return nil }
    let scalar = decodeScalar(text, at: index) ?? (0xFFFD, 1)
    return (ScalarKind(scalar.value), index + scalar.length)
  }
  while let first = scalar(start) {
    var end = first.end
    if let length = contraction(text, start, range.upperBound) {
      end = start + length
    } else if first.kind != .space {
      while let next = scalar(end), next.kind == first.kind { end = next.end }
    } else if text[start] == 0x20, let second = scalar(end), second.kind != .space {
      end = second.end
      while let next = scalar(end), next.kind == second.kind { end = next.end }
    } else {
      var last = start
      while let next = scalar(end), next.kind == .space { (last, end) = (end, next.end) }
      // White space before a word is a word of its own but for its last scalar; a single one stays whole.
      if end < range.upperBound, last > start { end = last }
    }
    words.append(start..<end)
    start = end
  }
  return words
}

/// The bytes of an English contraction such as `'re` at `start`; nil where there is none.
private func contraction(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int) -> Int? {
  guard text[start] == UInt8(ascii: "'"), start + 1 < end else { return nil }
  switch text[start + 1] {
  case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return 2
  case UInt8(ascii: "r"), UInt8(ascii: "v"):
    return start + 2 < end && text[start + 2] == UInt8(ascii: "e") ? 3 : nil
  case UInt8(ascii: "l"): return start + 2 < end && text[start + 2] == UInt8(ascii: "l") ? 3 : nil
  default: return nil
  }
}
