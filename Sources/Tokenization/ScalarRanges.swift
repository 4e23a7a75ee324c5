/// Whether `value` is in one of the `ranges`, pairs of first and last value in rising order.
func contains(_ value: UInt32, _ ranges: [UInt32]) -> Bool {
  var low = 0
  var high = ranges.count / 2
  while low < high {
    let middle = (low + high) / 2
    if value > ranges[2 * middle + 1] { low = middle + 1 } else { high = middle }
  }
  return low < ranges.count / 2 && value >= ranges[2 * low]
}

/// Where `value` is in `values`, which rise; nil where it is not.
func position(of value: UInt32, in values: [UInt32]) -> Int? {
  var low = 0
  var high = values.count
  while low < high {
    let middle = (low + high) / 2
    if values[middle] < value { low = middle + 1 } else { high = middle }
  }
  return low < values.count && values[low] == value ? low : nil
}

/// Unicode's white space, which Rust's `char::is_whitespace` and `\s` of a regular expression mean.
func isWhiteSpace(_ value: UInt32) -> Bool { contains(value, NormalizationTables.white) }

/// What `\w` of a regular expression matches.
func isWordScalar(_ value: UInt32) -> Bool { contains(value, NormalizationTables.word) }

/// Punctuation as BERT's pre-tokenizer takes it: the ASCII characters that are no letter, digit or blank, and Unicode's.
func isPunctuation(_ value: UInt32) -> Bool {
  switch value {
  case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
  case ..<0x80: false
  default: contains(value, UnicodeTables.punctuation)
  }
}

/// The blocks that BERT's `_is_chinese_char` lists.
func isIdeograph(_ value: UInt32) -> Bool {
  switch value {
  case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
    0x2B920...0x2CEAF, 0x2F800...0x2FA1F:
    true
  default: false
  }
}

/// The combining class of Unicode 9, which Hugging Face's normalization knows; later scalars have class 0 there.
func combiningClass(_ value: UInt32) -> UInt8 {
  guard value >= 0x300, let properties = Unicode.Scalar(value)?.properties, let age = properties.age, age.major <= 9
  else { return 0 }
  return properties.canonicalCombiningClass.rawValue
}

/// The lowercase mapping of `value`, one scalar at a time and without regard to what stands around it, as Rust has it.
@inline(__always)
func lowercase(_ value: UInt32, _ emit: (UInt32) -> Void) {
  guard let scalar = Unicode.Scalar(value), scalar.properties.changesWhenLowercased else { return emit(value) }
  for part in scalar.properties.lowercaseMapping.unicodeScalars { emit(part.value) }
}
