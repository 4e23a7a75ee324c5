/// Draws pairs of sentences that tell one event twice, or two events.
struct PairGenerator {
  /// The numbers that decide how hard the corpus is; docs/corpus.md says how they were found.
  private enum Mixture {
    /// Pairs that tell one event twice, in a hundred.
    static let paraphrasePercent = 55
    /// In a paraphrase a slot takes the other word of its meaning with this probability: most words differ.
    static let otherWordPercentInParaphrase = 70
    /// Where two events agree in a slot, it takes the other word with this probability: most words are the same.
    /// So both kinds of pairs share about as many words.
    static let otherWordPercentInDifference = 20
    /// Two events differ in this many slots, each entry equally likely: one slot alone is the rarest and hardest case.
    static let changedSlots = [1, 2, 2, 3, 3, 4, 4]
  }

  /// Which events are drawn: those held out for validation, or all others.
  let heldOut: Bool
  private var random: SplitMix64

  init(seed: UInt64, heldOut: Bool) {
    self.heldOut = heldOut
    // Streams that start at scrambled places do not overlap for any length used here.
    random = SplitMix64(seed: SplitMix64.scramble(seed &* 2 &+ (heldOut ? 1 : 0)))
  }

  /// The next pair.
  mutating func next() -> (isParaphrase: Bool, first: Sentence, second: Sentence) {
    let isParaphrase = random.chance(Mixture.paraphrasePercent)
    let changedSlots = isParaphrase ? 0 : Mixture.changedSlots[random.below(Mixture.changedSlots.count)]
    let (event, other) = events(changedSlots: changedSlots)
    let first = Sentence(event, from: &random)
    var second = Sentence(other, from: &random)
    let percent = isParaphrase ? Mixture.otherWordPercentInParaphrase : Mixture.otherWordPercentInDifference
    repeat {
      for slot in 0..<Lexicon.slotCount where event.meanings[slot] == other.meanings[slot] {
        let step = random.chance(percent) ? 1 + random.below(Lexicon.wordsPerMeaning - 1) : 0
        second.words[slot] = UInt8((Int(first.words[slot]) + step) % Lexicon.wordsPerMeaning)
      }
    } while first == second  // A sentence is no paraphrase of itself.
    return (isParaphrase, first, second)
  }

  /// Two events of this part that differ in exactly `changedSlots` slots.
  private mutating func events(changedSlots: Int) -> (Event, Event) {
    while true {
      let event = Event(from: &random)
      guard event.isHeldOut == heldOut else { continue }
      // Few held-out events have a held-out neighbour at every distance: after some tries another event has to do.
      for _ in 0..<64 {
        let other = event.changed(at: SlotSet(count: changedSlots, from: &random), from: &random)
        if other.isHeldOut == heldOut { return (event, other) }
      }
    }
  }
}
