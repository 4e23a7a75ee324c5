/// Makes changed copies of a small good file, the same ones for the same seed.
struct Mutator {
  private var random: SplitMix64
  private let header: [UInt8]
  private let data: [UInt8]

  init(seed: UInt64) {
    random = SplitMix64(state: seed)
    header = Array(
      ("{\"__metadata__\":{\"format\":\"pt\",\"k\":\"\\u00e9\"},\(member("w.a", "F32", "[2,3]", "[0,24]")),"
        + "\(member("é", "BF16", "[5]", "[24,34]")),\(member("z", "I64", "[0,7]", "[34,34]")),"
        + "\(member("s", "U8", "[]", "[34,35]")),\(member("h", "F16", "[1,1]", "[35,37]"))}  ").utf8)
    data = (0..<37).map { UInt8($0 * 7) }
  }

  /// One to three changes; mostly in the header, whose length is mostly set right again.
  mutating func next() -> [UInt8] {
    var header = header
    var data = data
    for _ in 0..<1 + below(3) {
      if below(12) == 0 { change(&data) } else { change(&header) }
    }
    var length = UInt64(header.count)
    if below(10) == 0 {
      let lengths: [UInt64] = [0, 1, length - 1, length + 1, length + 37, 1 << 32, 1 << 63, .max, random.next()]
      length = lengths[below(lengths.count)]
    }
    return fileBytes(header, data: data, length: length)
  }

  private mutating func change(_ bytes: inout [UInt8]) {
    guard !bytes.isEmpty else { return bytes.append(UInt8(truncatingIfNeeded: random.next())) }
    let place = below(bytes.count)
    let end = min(bytes.count, place + 1 + below(8))
    switch below(9) {
    case 0: bytes[place] ^= 1 << UInt8(below(8))
    case 1: bytes[place] = UInt8(truncatingIfNeeded: random.next())
    case 2: bytes[place] = Self.pieces[below(Self.pieces.count)].first!
    case 3: bytes.insert(contentsOf: Self.pieces[below(Self.pieces.count)], at: place)
    case 4: bytes.removeSubrange(place..<end)
    case 5: bytes.insert(contentsOf: bytes[place..<end], at: below(bytes.count))
    case 6: bytes.swapAt(place, below(bytes.count))
    case 7: bytes.replaceSubrange(place..<end, with: Self.pieces[below(Self.pieces.count)])
    default: if below(4) == 0 { bytes.removeSubrange(place...) } else { digit(&bytes) }
    }
  }

  /// Changes a digit to another: what is most likely to stay a header, but another one.
  private mutating func digit(_ bytes: inout [UInt8]) {
    let digits = bytes.indices.filter { (0x30...0x39).contains(bytes[$0]) }
    guard !digits.isEmpty else { return }
    bytes[digits[below(digits.count)]] = 0x30 + UInt8(below(10))
  }

  private mutating func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

  /// What readers of JSON are wrong about.
  private static let pieces: [[UInt8]] =
    [
      "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\n", "\t", "0", "-", "-0", "1e0", ".0", "E", "+", "true", "null",
      "\\u0000", "\\ud83d\\ude00", "\\ud83d", "\\/", "\"s\":", "\"dtype\":\"F32\",", "\"shape\":[],", "F64", "I8",
      "\"__metadata__\":{},", "{}", "[]", ",\"x\":1", "9007199254740993", "18446744073709551615", "\u{FEFF}",
      "e\u{301}",
      "/**/",
    ].map { Array($0.utf8) } + [[0], [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0x0b], [0xc2, 0xa0], [0x7f]]
}

/// The generator of http://prng.di.unimi.it/splitmix64.c
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
