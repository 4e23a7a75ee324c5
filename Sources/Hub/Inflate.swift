import System

// RFC 1951, "DEFLATE Compressed Data Format", sections 3.2.2 to 3.2.7. Codes are decoded length by length from counts, as
// in Mark Adler's puff.c (zlib/contrib/puff), which needs no tables that could be wrong for a broken stream.

/// What compressed bytes stand for.
struct Inflater {
  private let input: UnsafeBufferPointer<UInt8>
  private var position = 0
  private var bits: UInt32 = 0
  private var bitCount: UInt32 = 0
  private var output: [UInt8] = []
  private let size: Int
  private let place: String

  /// The bytes that `input` stands for, which must be `size`.
  ///
  /// - Throws: `.badData` with `place` where it is no such stream; memory is that of `size` bytes.
  static func bytes(
    _ input: UnsafeBufferPointer<UInt8>, size: Int, place: String
  ) throws(Failure) -> [UInt8] {
    var inflater = Inflater(input: input, size: size, place: place)
    return try inflater.run()
  }

  private init(input: UnsafeBufferPointer<UInt8>, size: Int, place: String) {
    (self.input, self.size, self.place) = (input, size, place)
  }

  private func wrong() -> Failure {
    Failure(.badData, at: place, "is no DEFLATE stream of \(size) bytes", hint: "fetch it again")
  }

  private mutating func take(_ count: UInt32) throws(Failure) -> Int {
    while bitCount < count {
      guard position < input.count else { throw wrong() }
      bits |= UInt32(input[position]) << bitCount
      position += 1
      bitCount += 8
    }
    let value = bits & ((1 << count) - 1)
    bits >>= count
    bitCount -= count
    return Int(value)
  }

  private mutating func run() throws(Failure) -> [UInt8] {
    output.reserveCapacity(size)
    var isLast = false
    while !isLast {
      isLast = try take(1) == 1
      switch try take(2) {
      case 0: try stored()
      case 1: try compressed(Self.fixedLengths, Self.fixedDistances)
      case 2: try dynamic()
      default: throw wrong()
      }
    }
    guard output.count == size else { throw wrong() }
    return output
  }

  private mutating func stored() throws(Failure) {
    (bits, bitCount) = (0, 0)
    guard position + 4 <= input.count else { throw wrong() }
    let count = Int(input[position]) | Int(input[position + 1]) << 8
    let inverse = Int(input[position + 2]) | Int(input[position + 3]) << 8
    position += 4
    guard count == inverse ^ 0xFFFF, position + count <= input.count, output.count + count <= size else {
      throw wrong()
    }
    output += input[position..<position + count]
    position += count
  }

  /// A canonical code: how many words of each length, and the symbols in order of their words.
  private struct Code {
    var counts = [UInt16](repeating: 0, count: 16)
    var symbols: [UInt16]

    /// Nil where more words are asked for than there are, or fewer, but for a single one.
    init?(_ lengths: some Collection<UInt8>) {
      symbols = [UInt16](repeating: 0, count: lengths.count)
      for length in lengths { counts[Int(length)] += 1 }
      var left = 1
      for length in 1...15 {
        left = left << 1 - Int(counts[length])
        if left < 0 { return nil }
      }
      let used = lengths.count - Int(counts[0])
      if left > 0 && used > 1 { return nil }
      var offsets = [Int](repeating: 0, count: 16)
      for length in 1..<15 { offsets[length + 1] = offsets[length] + Int(counts[length]) }
      for (symbol, length) in lengths.enumerated() where length > 0 {
        symbols[offsets[Int(length)]] = UInt16(symbol)
        offsets[Int(length)] += 1
      }
    }
  }

  private mutating func symbol(_ code: Code) throws(Failure) -> Int {
    var (word, first, index) = (0, 0, 0)
    for length in 1...15 {
      word |= try take(1)
      let count = Int(code.counts[length])
      if word - count < first { return Int(code.symbols[index + word - first]) }
      index += count
      first = (first + count) << 1
      word <<= 1
    }
    throw wrong()
  }

  private static let fixedLengths = Code(
    [UInt8](repeating: 8, count: 144) + [UInt8](repeating: 9, count: 112) + [UInt8](repeating: 7, count: 24)
      + [UInt8](repeating: 8, count: 8))!
  private static let fixedDistances = Code([UInt8](repeating: 5, count: 32))!

  private static let lengthBases = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
  ]
  private static let lengthBits: [UInt32] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
  ]
  private static let distanceBases = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
    8193, 12289, 16385, 24577,
  ]
  private static let distanceBits: [UInt32] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
  ]

  private mutating func compressed(_ lengths: Code, _ distances: Code) throws(Failure) {
    while true {
      let symbol = try symbol(lengths)
      if symbol == 256 { return }
      if symbol < 256 {
        guard output.count < size else { throw wrong() }
        output.append(UInt8(symbol))
        continue
      }
      guard symbol - 257 < Self.lengthBases.count else { throw wrong() }
      let length = Self.lengthBases[symbol - 257] + (try take(Self.lengthBits[symbol - 257]))
      let code = try self.symbol(distances)
      guard code < Self.distanceBases.count else { throw wrong() }
      let distance = Self.distanceBases[code] + (try take(Self.distanceBits[code]))
      guard distance <= output.count, output.count + length <= size else { throw wrong() }
      let start = output.count - distance
      for offset in 0..<length { output.append(output[start + offset]) }
    }
  }

  private static let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

  private mutating func dynamic() throws(Failure) {
    let lengthCount = try take(5) + 257
    let distanceCount = try take(5) + 1
    let codeCount = try take(4) + 4
    guard lengthCount <= 286, distanceCount <= 30 else { throw wrong() }
    var lengths = [UInt8](repeating: 0, count: 19)
    for index in 0..<codeCount { lengths[Self.order[index]] = UInt8(try take(3)) }
    guard let code = Code(lengths) else { throw wrong() }
    var all: [UInt8] = []
    while all.count < lengthCount + distanceCount {
      let symbol = try symbol(code)
      var (value, count) = (UInt8(0), 1)
      switch symbol {
      case ..<16: value = UInt8(symbol)
      case 16:
        guard let last = all.last else { throw wrong() }
        (value, count) = (last, 3 + (try take(2)))
      case 17: count = 3 + (try take(3))
      default: count = 11 + (try take(7))
      }
      all += repeatElement(value, count: count)
    }
    guard all.count == lengthCount + distanceCount, all[256] > 0, let first = Code(all[..<lengthCount]),
      let second = Code(all[lengthCount...])
    else { throw wrong() }
    try compressed(first, second)
  }
}

/// The CRC-32 of ZIP (ITU-T V.42, polynomial 0xEDB88320 reflected).
package func crc32(_ bytes: [UInt8]) -> UInt32 {
  var value: UInt32 = 0xFFFF_FFFF
  for byte in bytes { value = value >> 8 ^ crcTable[Int((value ^ UInt32(byte)) & 0xFF)] }
  return ~value
}

private let crcTable: [UInt32] = (0..<256).map { index in
  (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ value >> 1 : value >> 1 }
}
