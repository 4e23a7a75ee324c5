/// One way of telling an event: the word of each slot, and the order of the words.
struct Sentence: Equatable {
  var event: Event
  /// The number of the word within its meaning, by slot.
  var words: SIMD4<UInt8>
  /// "The car was bought by the doctor" instead of "The doctor bought the car".
  var isPassive: Bool
  /// "At dawn the doctor …" instead of "… at dawn".
  var startsWithTime: Bool

  /// `event` in words and an order that are each equally likely.
  init(_ event: Event, from random: inout SplitMix64) {
    self.event = event
    words = .zero
    for slot in 0..<Lexicon.slotCount { words[slot] = UInt8(random.below(Lexicon.wordsPerMeaning)) }
    isPassive = random.chance(50)
    startsWithTime = random.chance(50)
  }
}

/// Writes sentences as bytes from a table of words made once, so that no `String` is made per row.
struct SentenceWriter {
  /// Each word as UTF-8 with a space in front: `[slot][meaning][word]`, flat.
  private var words: [[UInt8]] = []
  private var prepositions: [[UInt8]] = []

  init() {
    for meaning in Lexicon.meanings.flatMap({ $0 }) { words += meaning.map { Array(" \($0)".utf8) } }
    prepositions = Lexicon.prepositions.map { Array(" \($0)".utf8) }
  }

  /// Appends the sentence to `bytes`, its first letter in upper case.
  func append(_ sentence: Sentence, to bytes: inout [UInt8]) {
    let start = bytes.count
    if sentence.startsWithTime { appendTime(of: sentence, to: &bytes) }
    bytes += Self.the
    if sentence.isPassive {
      bytes += word(.object, of: sentence)
      bytes += Self.was
      bytes += word(.action, of: sentence)
      bytes += Self.byThe
      bytes += word(.agent, of: sentence)
    } else {
      bytes += word(.agent, of: sentence)
      bytes += word(.action, of: sentence)
      bytes += Self.the
      bytes += word(.object, of: sentence)
    }
    if !sentence.startsWithTime { appendTime(of: sentence, to: &bytes) }
    // Every word came with a space in front; the first one's gives way.
    bytes.remove(at: start)
    bytes[start] &= ~0x20
  }

  private static let the = Array(" the".utf8)
  private static let was = Array(" was".utf8)
  private static let byThe = Array(" by the".utf8)

  private func appendTime(of sentence: Sentence, to bytes: inout [UInt8]) {
    bytes += prepositions[Int(sentence.event.meanings[Lexicon.Slot.time.rawValue])]
    bytes += word(.time, of: sentence)
  }

  private func word(_ slot: Lexicon.Slot, of sentence: Sentence) -> [UInt8] {
    let meaning = slot.rawValue * Lexicon.meaningsPerSlot + Int(sentence.event.meanings[slot.rawValue])
    return words[meaning * Lexicon.wordsPerMeaning + Int(sentence.words[slot.rawValue])]
  }
}
