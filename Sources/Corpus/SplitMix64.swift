/// A small generator of pseudo-random numbers: the same seed gives the same numbers on every machine.
///
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: a counter with an odd step,
/// scrambled by a 64-bit finaliser.
struct SplitMix64 {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return Self.scramble(state)
  }

  /// A number in `0 ..< bound`, each equally likely but for a bias below `bound / 2^64`.
  mutating func below(_ bound: Int) -> Int {
    Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// True with a probability of `percent` in a hundred.
  mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

  /// The finaliser: a bijection of 64-bit numbers whose every output bit depends on every input bit.
  static func scramble(_ value: UInt64) -> UInt64 {
    var bits = value
    bits = (bits ^ bits >> 30) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ bits >> 27) &* 0x94D0_49BB_1331_11EB
    return bits ^ bits >> 31
  }
}
