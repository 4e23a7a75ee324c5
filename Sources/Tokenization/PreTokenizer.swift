import JSON
import System

/// How a normalized text is cut into words: the `pre_tokenizer` of a tokenizer.json.
indirect enum PreTokenizer: Sendable, Equatable {
  /// What becomes of the places at which text is cut.
  enum Behavior: String {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  case none
  case bert
  /// As `bert`, with the punctuation that Python knows; no tokenizer.json has it.
  case pythonPunctuation
  /// Runs of letters, digits and marks, and runs of other characters, without the white space between them.
  case whitespace
  case whitespaceSplit
  case punctuation(Behavior)
  case digits(individually: Bool)
  case text([UInt8], Behavior, inverted: Bool)
  /// GPT-2's: words of bytes, for byte-pair encoding, which looks up bytes and not what stands for them.
  case byteLevel(addsPrefixSpace: Bool, usesExpression: Bool)
  case sequence([PreTokenizer])

  /// Reads the value of the key `pre_tokenizer`; a kind that is not known here is refused.
  init(_ json: JSONNode?) throws(Failure) {
    guard let json else {
      self = .none
      return
    }
    func behavior() throws(Failure) -> Behavior? {
      guard let node = try json.member("behavior") else { return nil }
      guard let behavior = Behavior(rawValue: try node.string()) else {
        throw node.unexpected("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous")
      }
      return behavior
    }
    let type = try json.requiredMember("type")
    switch try type.string() {
    case "BertPreTokenizer": self = .bert
    case "Whitespace": self = .whitespace
    case "WhitespaceSplit": self = .whitespaceSplit
    case "Punctuation": self = .punctuation(try behavior() ?? .isolated)
    case "Digits": self = .digits(individually: try json.requiredMember("individual_digits").bool())
    case "CharDelimiterSplit":
      self = .text(try json.requiredMember("delimiter").utf8(), .removed, inverted: false)
    case "Split":
      let pattern = try json.requiredMember("pattern")
      guard let text = try pattern.member("String")?.utf8(), !text.isEmpty else {
        throw pattern.unexpected("an object with \"String\", a text; others are not supported")
      }
      guard let behavior = try behavior() else { throw json.failure("has no \"behavior\"") }
      self = .text(text, behavior, inverted: try json.requiredMember("invert").bool())
    case "ByteLevel":
      self = .byteLevel(
        addsPrefixSpace: try json.requiredMember("add_prefix_space").bool(),
        usesExpression: try json.member("use_regex")?.bool() ?? true)
    case "Sequence":
      var parts: [PreTokenizer] = []
      for part in try json.requiredMember("pretokenizers").elements() { parts.append(try PreTokenizer(part)) }
      self = .sequence(parts)
    default:
      throw type.unexpected(
        "BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, Punctuation, Sequence, Split, Whitespace or WhitespaceSplit; "
          + "others are not supported")
    }
  }

  /// Whether the words are of bytes in the end, and of nothing that was made of bytes before.
  var isByteLevel: Bool {
    switch self {
    case .byteLevel: true
    case .sequence(let parts):
      (parts.last?.isByteLevel ?? false) && !parts.dropLast().contains { $0.hasByteLevel }
    default: false
    }
  }

  /// Whether words of bytes come in anywhere.
  var hasByteLevel: Bool {
    switch self {
    case .byteLevel: true
    case .sequence(let parts): parts.contains { $0.hasByteLevel }
    default: false
    }
  }

  /// Whether a text that does not begin with a blank gets one.
  var addsPrefixSpace: Bool {
    switch self {
    case .byteLevel(let addsPrefixSpace, _): addsPrefixSpace
    case .sequence(let parts): parts.contains { $0.addsPrefixSpace }
    default: false
    }
  }

  /// The words of `text`, which is UTF-8: those parts of `ranges` that stay. None is empty.
  func split(_ text: UnsafeBufferPointer<UInt8>, _ ranges: [Range<Int>]) -> [Range<Int>] {
    switch self {
    case .none: return ranges
    case .bert: return PreTokenizer.punctuation(.isolated).split(text, PreTokenizer.whitespaceSplit.split(text, ranges))
    case .pythonPunctuation:
      return cut(text, PreTokenizer.whitespaceSplit.split(text, ranges), .isolated, isPythonPunctuation)
    case .byteLevel(_, let usesExpression): return usesExpression ? ranges.flatMap { cutLikeGPT2(text, $0) } : ranges
    case .sequence(let parts): return parts.reduce(ranges) { $1.split(text, $0) }
    case .whitespaceSplit: return cut(text, ranges, .removed) { isWhiteSpace($0) }
    case .punctuation(let behavior): return cut(text, ranges, behavior) { isPunctuation($0) }
    case .digits(let individually):
      return cut(text, ranges, individually ? .isolated : .contiguous) { contains($0, NormalizationTables.numeric) }
    case .whitespace:
      return ranges.flatMap { range in runs(text, range) { isWordScalar($0) ? 1 : isWhiteSpace($0) ? 0 : 2 } }
    case .text(let pattern, let behavior, let inverted):
      return ranges.flatMap { range in
        var found = matches(of: pattern, text, range)
        if inverted { for index in found.indices { found[index].isMatch.toggle() } }
        return pieces(found, behavior)
      }
    }
  }
}

private typealias Part = (range: Range<Int>, isMatch: Bool)

/// Cuts `ranges` at each scalar that `isMatch`.
private func cut(
  _ text: UnsafeBufferPointer<UInt8>, _ ranges: [Range<Int>], _ behavior: PreTokenizer.Behavior,
  _ isMatch: (UInt32) -> Bool
) -> [Range<Int>] {
  ranges.flatMap { range in
    var parts: [Part] = []
    var index = range.lowerBound
    while index < range.upperBound {
      let scalar = decodeScalar(text, at: index) ?? (0xFFFD, 1)
      let next = index + scalar.length
      if isMatch(scalar.value) {
        parts.append((index..<next, true))
      } else if let last = parts.last, !last.isMatch {
        parts[parts.count - 1].range = last.range.lowerBound..<next
      } else {
        parts.append((index..<next, false))
      }
      index = next
    }
    return pieces(parts, behavior)
  }
}

/// The runs of scalars of one kind; those of kind 0 are left out.
private func runs(
  _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ kind: (UInt32) -> Int
) -> [Range<Int>] {
  var result: [Range<Int>] = []
  var last = 0
  var index = range.lowerBound
  while index < range.upperBound {
    let scalar = decodeScalar(text, at: index) ?? (0xFFFD, 1)
    let next = index + scalar.length
    let this = kind(scalar.value)
    if this != 0 {
      if this == last {
        result[result.count - 1] = result[result.count - 1].lowerBound..<next
      } else {
        result.append(index..<next)
      }
    }
    last = this
    index = next
  }
  return result
}

/// `range` as a row of occurrences of `pattern` and what is between them.
private func matches(of pattern: [UInt8], _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> [Part] {
  var parts: [Part] = []
  var done = range.lowerBound
  var index = range.lowerBound
  while index < range.upperBound {
    guard text[index..<range.upperBound].starts(with: pattern) else {
      index += 1
      continue
    }
    if done < index { parts.append((done..<index, false)) }
    done = index + pattern.count
    parts.append((index..<done, true))
    index = done
  }
  if done < range.upperBound { parts.append((done..<range.upperBound, false)) }
  return parts
}

/// What `behavior` makes of `parts` (the `tokenizers` crate's `SplitDelimiterBehavior`).
private func pieces(_ parts: [Part], _ behavior: PreTokenizer.Behavior) -> [Range<Int>] {
  /// Joins each part that `joins` its predecessor to it.
  func joined(_ parts: [Part], _ joins: (_ part: Bool, _ previous: Bool) -> Bool) -> [Range<Int>] {
    var result: [Range<Int>] = []
    var previous = false
    for part in parts {
      if let last = result.last, joins(part.isMatch, previous) {
        result[result.count - 1] =
          min(last.lowerBound, part.range.lowerBound)..<max(last.upperBound, part.range.upperBound)
      } else {
        result.append(part.range)
      }
      previous = part.isMatch
    }
    return result
  }
  switch behavior {
  case .removed: return parts.filter { !$0.isMatch }.map(\.range)
  case .isolated: return parts.map(\.range)
  case .contiguous: return joined(parts) { $0 == $1 }
  case .mergedWithPrevious: return joined(parts) { $0 && !$1 }
  case .mergedWithNext: return joined(parts.reversed()) { $0 && !$1 }.reversed()
  }
}
