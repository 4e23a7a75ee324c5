/// A hash of byte strings that grows byte by byte, so that all prefixes of a word cost one pass (FNV-1a, 64 bits).
@inline(__always)
func hash(_ state: UInt64, adding byte: UInt8) -> UInt64 { (state ^ UInt64(byte)) &* 0x100_0000_01B3 }

/// The hash of nothing.
let emptyHash: UInt64 = 0xCBF2_9CE4_8422_2325

/// Tokens stored end to end, found by their bytes through an open-addressing table.
struct VocabularyIndex: Sendable {
  /// All tokens' bytes, end to end.
  private(set) var bytes: [UInt8] = []
  /// Token `id` is `bytes[offsets[id]..<offsets[id + 1]]`.
  private(set) var offsets: [Int] = [0]
  private(set) var longestByteCount = 0
  /// Per slot: the hash's upper half, then the id + 1; 0 where empty.
  private var slots: [UInt64]
  private let mask: Int

  init(capacity: Int) {
    var slotCount = 16
    while slotCount < 2 * capacity { slotCount *= 2 }
    slots = [UInt64](repeating: 0, count: slotCount)
    mask = slotCount - 1
    offsets.reserveCapacity(capacity + 1)
  }

  var count: Int { offsets.count - 1 }

  func token(_ id: Int) -> ArraySlice<UInt8> { bytes[offsets[id]..<offsets[id + 1]] }

  /// Adds a token under the next id, or returns the id that it has already.
  mutating func insert(_ token: some Collection<UInt8>) -> Int? {
    let tokenHash = token.reduce(emptyHash) { hash($0, adding: $1) }
    var slot = Self.firstSlot(tokenHash) & mask
    while slots[slot] != 0 {
      let id = Int(slots[slot] & 0xFFFF_FFFF) - 1
      if slots[slot] >> 32 == tokenHash >> 32 && self.token(id).elementsEqual(token) { return id }
      slot = (slot + 1) & mask
    }
    slots[slot] = (tokenHash >> 32) << 32 | UInt64(count + 1)
    bytes.append(contentsOf: token)
    offsets.append(bytes.count)
    longestByteCount = max(longestByteCount, token.count)
    return nil
  }

  /// The id of the token `prefix + word`, of which `tokenHash` is the hash; nil where there is none.
  @inline(__always)
  func find(_ word: UnsafeBufferPointer<UInt8>, after prefix: StaticString, hash tokenHash: UInt64) -> Int32? {
    var slot = Self.firstSlot(tokenHash) & mask
    while slots[slot] != 0 {
      if slots[slot] >> 32 == tokenHash >> 32 {
        let id = Int(slots[slot] & 0xFFFF_FFFF) - 1
        if equals(id, prefix, word) { return Int32(id) }
      }
      slot = (slot + 1) & mask
    }
    return nil
  }

  private static func firstSlot(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash ^ hash >> 29) & Int(UInt32.max) }

  private func equals(_ id: Int, _ prefix: StaticString, _ word: UnsafeBufferPointer<UInt8>) -> Bool {
    let start = offsets[id]
    let prefixCount = prefix.utf8CodeUnitCount
    guard offsets[id + 1] - start == prefixCount + word.count else { return false }
    for index in 0..<prefixCount where bytes[start + index] != prefix.utf8Start[index] { return false }
    for index in 0..<word.count where bytes[start + prefixCount + index] != word[index] { return false }
    return true
  }
}
