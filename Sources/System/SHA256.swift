// FIPS 180-4, "Secure Hash Standard", sections 4.1.2, 5.1.1 and 6.2.

import CSHA256

/// The SHA-256 digest of a run of bytes, given piece by piece.
public struct SHA256: Sendable, BlockHash {
  private var state: SIMD8<UInt32> = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
  ]
  package var rest: [UInt8] = []
  package var byteCount: UInt64 = 0
  package var words: [UInt32] { (0..<8).map { state[$0] } }

  /// Whether the CPU has instructions for it.
  package static let isAccelerated = lockstep_sha256_is_supported() != 0
  private let usesInstructions: Bool

  public init() { self.init(usesInstructions: Self.isAccelerated) }

  /// - Parameter usesInstructions: those of the CPU, which must have them; for tests.
  package init(usesInstructions: Bool) { self.usesInstructions = usesInstructions }

  /// The digest of `bytes`, as 64 hexadecimal digits.
  public static func hexDigest(_ bytes: [UInt8]) -> String {
    var hash = SHA256()
    hash.update(bytes)
    return hash.hexDigest
  }

  package mutating func compress(_ start: UnsafeRawPointer, blocks: Int) {
    guard usesInstructions else { return Self.compress(&state, start, blocks: blocks) }
    withUnsafeMutableBytes(of: &state) { state in
      Self.roundConstants.withUnsafeBufferPointer { constants in
        lockstep_sha256_add(
          state.bindMemory(to: UInt32.self).baseAddress, start, blocks, constants.baseAddress)
      }
    }
  }

  /// Adds as many bytes to each of two hashes, which on a CPU with instructions takes little longer than one.
  package static func update(
    _ first: inout SHA256, _ bytes: UnsafeRawBufferPointer, _ second: inout SHA256, _ others: UnsafeRawBufferPointer
  ) {
    let isWhole = bytes.count % blockBytes == 0 && first.rest.isEmpty && second.rest.isEmpty
    guard isWhole, bytes.count == others.count, first.usesInstructions, second.usesInstructions,
      let start = bytes.baseAddress, let otherStart = others.baseAddress
    else {
      first.update(bytes)
      second.update(others)
      return
    }
    first.byteCount &+= UInt64(bytes.count)
    second.byteCount &+= UInt64(others.count)
    withUnsafeMutableBytes(of: &first.state) { state in
      withUnsafeMutableBytes(of: &second.state) { otherState in
        roundConstants.withUnsafeBufferPointer { constants in
          lockstep_sha256_add_two(
            state.bindMemory(to: UInt32.self).baseAddress, start, otherState.bindMemory(to: UInt32.self).baseAddress,
            otherStart, bytes.count / blockBytes, constants.baseAddress)
        }
      }
    }
  }

  private static func compress(_ state: inout SIMD8<UInt32>, _ start: UnsafeRawPointer, blocks: Int) {
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 64) { schedule in
      guard let w = schedule.baseAddress else { return }
      roundConstants.withUnsafeBufferPointer { constants in
        guard let k = constants.baseAddress else { return }
        for block in 0..<blocks {
          let bytes = start + block * blockBytes
          for i in 0..<16 { w[i] = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)) }
          for i in 16..<64 {
            let s0 = rotated(w[i &- 15], 7) ^ rotated(w[i &- 15], 18) ^ w[i &- 15] &>> 3
            let s1 = rotated(w[i &- 2], 17) ^ rotated(w[i &- 2], 19) ^ w[i &- 2] &>> 10
            w[i] = w[i &- 16] &+ s0 &+ w[i &- 7] &+ s1
          }
          var (a, b, c, d) = (state[0], state[1], state[2], state[3])
          var (e, f, g, h) = (state[4], state[5], state[6], state[7])
          for i in 0..<64 {
            let s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
            let t1 = h &+ s1 &+ (e & f ^ ~e & g) &+ k[i] &+ w[i]
            let s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)
            let t2 = s0 &+ (a & b ^ a & c ^ b & c)
            (h, g, f, e, d, c, b, a) = (g, f, e, d &+ t1, c, b, a, t1 &+ t2)
          }
          state &+= [a, b, c, d, e, f, g, h]
        }
      }
    }
  }

  @inline(__always)
  private static func rotated(_ x: UInt32, _ count: UInt32) -> UInt32 { x &>> count | x &<< (32 &- count) }

  private static let roundConstants: [UInt32] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
  ]
}
