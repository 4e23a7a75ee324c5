import JSON
import System

/// What happens to a text before it is cut into words: the `normalizer` of a tokenizer.json.
indirect enum Normalizer: Sendable, Equatable {
  case none
  case bert(BertNormalizer)
  case unicode(UnicodeForm)
  case lowercase
  /// What Python's basic tokenizer does first; no tokenizer.json has it.
  case pythonBasic
  /// Removes combining marks, and decomposes nothing.
  case stripAccents
  case strip(left: Bool, right: Bool)
  case replace([UInt8], with: [UInt8])
  case prepend([UInt8])
  case sequence([Normalizer])

  /// Reads the value of the key `normalizer`; a kind that is not known here is refused.
  init(_ json: JSONNode?) throws(Failure) {
    guard let json else {
      self = .none
      return
    }
    let type = try json.requiredMember("type")
    switch try type.string() {
    case "BertNormalizer":
      self = .bert(
        BertNormalizer(
          cleansText: try json.requiredMember("clean_text").bool(),
          separatesIdeographs: try json.requiredMember("handle_chinese_chars").bool(),
          stripsAccents: try json.member("strip_accents")?.bool(),
          lowercases: try json.requiredMember("lowercase").bool()))
    case "NFD": self = .unicode(.nfd)
    case "NFC": self = .unicode(.nfc)
    case "NFKD": self = .unicode(.nfkd)
    case "NFKC": self = .unicode(.nfkc)
    case "Lowercase": self = .lowercase
    case "StripAccents": self = .stripAccents
    case "Strip":
      self = .strip(
        left: try json.requiredMember("strip_left").bool(), right: try json.requiredMember("strip_right").bool())
    case "Replace":
      let pattern = try json.requiredMember("pattern")
      guard let text = try pattern.member("String")?.utf8(), !text.isEmpty else {
        throw pattern.unexpected("an object with \"String\", a text that is replaced; others are not supported")
      }
      self = .replace(text, with: try json.requiredMember("content").utf8())
    case "Prepend": self = .prepend(try json.requiredMember("prepend").utf8())
    case "Sequence":
      var parts: [Normalizer] = []
      for part in try json.requiredMember("normalizers").elements() { parts.append(try Normalizer(part)) }
      self = .sequence(parts)
    default:
      throw type.unexpected(
        "BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Prepend, Replace, Sequence, Strip or StripAccents; "
          + "others are not supported")
    }
    guard growth <= 1000 else { throw json.failure("makes a text more than 1000 times as long") }
  }

  /// How many times as long a text may become by what is replaced and put in front of it.
  private var growth: Double {
    switch self {
    case .replace(let pattern, let content): max(1, Double(content.count) / Double(pattern.count))
    case .prepend(let prefix): Double(1 + prefix.count)
    case .sequence(let parts): parts.reduce(1) { $0 * $1.growth }
    default: 1
    }
  }

  /// `text`, which is UTF-8, normalized.
  func normalized(_ text: [UInt8]) -> [UInt8] {
    switch self {
    case .none: return text
    case .bert(let normalizer):
      var sink = TextSink()
      var marks: BertNormalizer.Marks = []
      text.withUnsafeBufferPointer { normalizer.read($0, marks: &marks, into: &sink) }
      return sink.bytes
    case .unicode(let form): return encoded(form.normalized(text.withUnsafeBufferPointer(scalars)))
    case .pythonBasic: return Tokenization.pythonBasic(text)
    case .lowercase:
      var result: [UInt8] = []
      for value in text.withUnsafeBufferPointer(scalars) {
        Tokenization.lowercase(value) { append($0, to: &result) }
      }
      return result
    case .stripAccents:
      return encoded(text.withUnsafeBufferPointer(scalars).filter { !contains($0, NormalizationTables.combining) })
    case .strip(let left, let right):
      var values = text.withUnsafeBufferPointer(scalars)[...]
      if left { values = values.drop(while: isWhiteSpace) }
      if right { while let last = values.last, isWhiteSpace(last) { values.removeLast() } }
      return encoded(values)
    case .replace(let pattern, let content): return replacing(pattern, with: content, in: text)
    case .prepend(let prefix): return text.isEmpty ? text : prefix + text
    case .sequence(let parts): return parts.reduce(text) { $1.normalized($0) }
    }
  }
}

extension JSONNode {
  /// The value of `key`, which must be there.
  func requiredMember(_ key: String) throws(Failure) -> JSONNode {
    guard let node = try member(key) else { throw failure("has no \"\(key)\"") }
    return node
  }
}

func encoded(_ values: some Sequence<UInt32>) -> [UInt8] {
  var result: [UInt8] = []
  for value in values { append(value, to: &result) }
  return result
}

private func replacing(_ pattern: [UInt8], with content: [UInt8], in text: [UInt8]) -> [UInt8] {
  var result: [UInt8] = []
  var index = 0
  while index < text.count {
    if text[index...].starts(with: pattern) {
      result += content
      index += pattern.count
    } else {
      result.append(text[index])
      index += 1
    }
  }
  return result
}
