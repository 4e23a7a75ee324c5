import System

/// Tokens stored end to end with their ids, found by their bytes through an open-addressing table.
struct VocabularyIndex: Sendable {
  /// All tokens' bytes, end to end.
  private(set) var bytes: [UInt8] = []
  /// The token of entry `i` is `bytes[offsets[i]..<offsets[i + 1]]`.
  private(set) var offsets: [UInt32] = [0]
  /// The id of each entry.
  private(set) var ids: [Int32] = []
  private(set) var longestByteCount = 0
  /// Per slot: the hash's upper half, then the entry + 1; 0 where empty.
  private var slots = [UInt64](repeating: 0, count: 16)

  /// The number of different tokens.
  var count: Int { ids.count }

  func token(_ entry: Int) -> ArraySlice<UInt8> { bytes[Int(offsets[entry])..<Int(offsets[entry + 1])] }

  /// Gives `token` the id `id`, also where it has another already.
  mutating func insert(_ token: some Collection<UInt8>, id: Int32) {
    if 2 * (count + 1) > slots.count { grow() }
    let tokenHash = FNV1a.hash(token)
    var slot = firstSlot(tokenHash)
    while slots[slot] != 0 {
      let entry = Int(slots[slot] & 0xFFFF_FFFF) - 1
      if slots[slot] >> 32 == tokenHash >> 32 && self.token(entry).elementsEqual(token) {
        ids[entry] = id
        return
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    slots[slot] = (tokenHash >> 32) << 32 | UInt64(count + 1)
    bytes.append(contentsOf: token)
    offsets.append(UInt32(bytes.count))
    ids.append(id)
    longestByteCount = max(longestByteCount, token.count)
  }

  /// Twice as many slots.
  private mutating func grow() {
    slots = [UInt64](repeating: 0, count: 2 * slots.count)
    for entry in 0..<count {
      let tokenHash = FNV1a.hash(token(entry))
      var slot = firstSlot(tokenHash)
      while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
      slots[slot] = (tokenHash >> 32) << 32 | UInt64(entry + 1)
    }
  }

  /// The id of the token `prefix + word`, of which `tokenHash` is the hash; nil where there is none.
  @inline(__always)
  func find(
    _ word: UnsafeBufferPointer<UInt8>, after prefix: UnsafeBufferPointer<UInt8>, hash tokenHash: UInt64
  ) -> Int32? {
    var slot = firstSlot(tokenHash)
    while slots[slot] != 0 {
      if slots[slot] >> 32 == tokenHash >> 32 {
        let entry = Int(slots[slot] & 0xFFFF_FFFF) - 1
        if equals(entry, prefix, word) { return ids[entry] }
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    return nil
  }

  @inline(__always)
  private func firstSlot(_ hash: UInt64) -> Int {
    Int(truncatingIfNeeded: hash ^ hash >> 29) & Int(UInt32.max) & (slots.count - 1)
  }

  private func equals(
    _ entry: Int, _ prefix: UnsafeBufferPointer<UInt8>, _ word: UnsafeBufferPointer<UInt8>
  ) -> Bool {
    let start = Int(offsets[entry])
    guard Int(offsets[entry + 1]) - start == prefix.count + word.count else { return false }
    for index in 0..<prefix.count where bytes[start + index] != prefix[index] { return false }
    for index in 0..<word.count where bytes[start + prefix.count + index] != word[index] { return false }
    return true
  }
}
