import System

// FIPS 180-4, "Secure Hash Standard", sections 4.1.1, 5.1.1 and 6.1. Git names its objects by it.

/// The SHA-1 digest of bytes, given piece by piece.
package struct SHA1: BlockHash {
  private var state: (UInt32, UInt32, UInt32, UInt32, UInt32) = (
    0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0
  )
  package var rest: [UInt8] = []
  package var byteCount: UInt64 = 0

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

@inline(__always)
private func rotated(_ x: UInt32, _ count: UInt32) -> UInt32 { x &<< count | x &>> (32 &- count) }
