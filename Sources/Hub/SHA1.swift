import System

// FIPS 180-4, "Secure Hash Standard", sections 4.1.1, 5.1.1 and 6.1. Git names its objects by it.

/// The SHA-1 digest of bytes, given piece by piece.
package struct SHA1: BlockHash {
  private var state: (UInt32, UInt32, UInt32, UInt32, UInt32) = (
    0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0
  )
  package var rest: [UInt8] = []
  package var byteCount: UInt64 = 0
  package static let isBigEndian = true

  /// Of a file in git's store: `blob`, its length, a zero and its bytes.
  package init(gitBlobOf byteCount: Int) { update(Array("blob \(byteCount)\0".utf8)) }

  package init() {}

  package mutating func compress(_ start: UnsafeRawPointer, blocks: Int) {
    for block in 0..<blocks { compress(start + block * Self.blockBytes) }
  }

  private mutating func compress(_ block: UnsafeRawPointer) {
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 80) { w in
      for i in 0..<16 { w[i] = UInt32(bigEndian: block.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)) }
      for i in 16..<80 { w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1) }
      var (a, b, c, d, e) = state
      for i in 0..<80 {
        let (f, k): (UInt32, UInt32) =
          switch i {
          case ..<20: (b & c | ~b & d, 0x5a82_7999)
          case ..<40: (b ^ c ^ d, 0x6ed9_eba1)
          case ..<60: (b & c | b & d | c & d, 0x8f1b_bcdc)
          default: (b ^ c ^ d, 0xca62_c1d6)
          }
        (e, d, c, b, a) = (d, c, rotated(b, 30), a, rotated(a, 5) &+ f &+ e &+ k &+ w[i])
      }
      state = (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d, state.4 &+ e)
    }
  }

  package var words: [UInt32] { [state.0, state.1, state.2, state.3, state.4] }
}

// RFC 1321, section 3. Only to compare with published sums: others can make files with one sum.

/// The MD5 digest of bytes, given piece by piece.
package struct MD5: BlockHash {
  private var state: (UInt32, UInt32, UInt32, UInt32) = (0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476)
  package var rest: [UInt8] = []
  package var byteCount: UInt64 = 0
  package static let isBigEndian = false

  package init() {}

  package mutating func compress(_ start: UnsafeRawPointer, blocks: Int) {
    for block in 0..<blocks { compress(start + block * Self.blockBytes) }
  }

  private mutating func compress(_ block: UnsafeRawPointer) {
    var (a, b, c, d) = state
    for i in 0..<64 {
      let (f, g): (UInt32, Int) =
        switch i {
        case ..<16: (b & c | ~b & d, i)
        case ..<32: (d & b | ~d & c, (5 * i + 1) % 16)
        case ..<48: (b ^ c ^ d, (3 * i + 5) % 16)
        default: (c ^ (b | ~d), 7 * i % 16)
        }
      let word = UInt32(littleEndian: block.loadUnaligned(fromByteOffset: 4 * g, as: UInt32.self))
      let sum = a &+ f &+ Self.constants[i] &+ word
      (a, d, c, b) = (d, c, b, b &+ rotated(sum, Self.shifts[i / 16][i % 4]))
    }
    state = (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d)
  }

  package var words: [UInt32] { [state.0, state.1, state.2, state.3] }

  private static let shifts: [[UInt32]] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]]

  /// ⌊2³² |sin(i + 1)|⌋.
  private static let constants: [UInt32] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
  ]
}

@inline(__always)
private func rotated(_ x: UInt32, _ count: UInt32) -> UInt32 { x &<< count | x &>> (32 &- count) }
