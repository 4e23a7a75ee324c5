/// Who did what to what and when: the number of a meaning for each slot of the lexicon.
struct Event: Equatable {
  /// By `Lexicon.Slot.rawValue`.
  var meanings: SIMD4<UInt8>

  /// Any event, each equally likely.
  init(from random: inout SplitMix64) {
    meanings = .zero
    for slot in 0..<Lexicon.slotCount { meanings[slot] = UInt8(random.below(Lexicon.meaningsPerSlot)) }
  }

  /// This event with another meaning in each slot of `slots`.
  func changed(at slots: SlotSet, from random: inout SplitMix64) -> Event {
    var other = self
    for slot in 0..<Lexicon.slotCount where slots.contains(slot) {
      let step = 1 + random.below(Lexicon.meaningsPerSlot - 1)
      other.meanings[slot] = UInt8((Int(meanings[slot]) + step) % Lexicon.meaningsPerSlot)
    }
    return other
  }

  /// Whether the event is kept for the validation part: one in eight, by a hash of its meanings, whatever the seed.
  var isHeldOut: Bool {
    var index: UInt64 = 0
    for slot in 0..<Lexicon.slotCount { index = index &* UInt64(Lexicon.meaningsPerSlot) &+ UInt64(meanings[slot]) }
    return SplitMix64.scramble(index &+ 0x5EED) & 7 == 0
  }
}

/// Some slots of an event.
struct SlotSet {
  private var bits: UInt8 = 0

  /// `count` slots, each choice equally likely.
  init(count: Int, from random: inout SplitMix64) {
    var left = count
    // Selection sampling: each slot is taken with probability (still to take) / (still to come).
    for slot in 0..<Lexicon.slotCount where random.below(Lexicon.slotCount - slot) < left {
      bits |= 1 << UInt8(slot)
      left -= 1
    }
  }

  func contains(_ slot: Int) -> Bool { bits >> UInt8(slot) & 1 == 1 }
}
