/// The order in which epoch `epoch` visits `count` rows: the one of Accelerate's `SeedableRandomSampler`, that is
/// `torch.randperm` from a generator seeded with `seed + epoch`. A pure function: there is nothing to save but the seed.
public func shuffledOrder(count: Int, seed: Int, epoch: Int) -> [Int] {
  // ATen's randperm_cpu: a Fisher–Yates shuffle from the front, the remainder of 32 random bits.
  var generator = MersenneTwister(seed: UInt32(truncatingIfNeeded: seed &+ epoch))
  var order = Array(0..<count)
  for index in 0..<max(0, count - 1) {
    order.swapAt(index, index + Int(generator.next()) % (count - index))
  }
  return order
}

/// MT19937 (Matsumoto and Nishimura 1998), as `torch.Generator` has it on a CPU.
struct MersenneTwister {
  private var state: [UInt32]
  private var index = 624

  init(seed: UInt32) {
    state = [seed]
    for position in 1..<624 {
      let previous = state[position - 1]
      state.append(1_812_433_253 &* (previous ^ previous >> 30) &+ UInt32(position))
    }
  }

  mutating func next() -> UInt32 {
    if index == 624 { refill() }
    var bits = state[index]
    index += 1
    bits ^= bits >> 11
    bits ^= bits << 7 & 0x9D2C_5680
    bits ^= bits << 15 & 0xEFC6_0000
    return bits ^ bits >> 18
  }

  private mutating func refill() {
    for position in 0..<624 {
      let mixed = state[position] & 0x8000_0000 | state[(position + 1) % 624] & 0x7FFF_FFFF
      let twist: UInt32 = mixed & 1 == 0 ? 0 : 0x9908_B0DF
      state[position] = state[(position + 397) % 624] ^ mixed >> 1 ^ twist
    }
    index = 0
  }
}
