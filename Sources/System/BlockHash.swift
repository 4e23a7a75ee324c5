/// A hash over blocks of 64 bytes, given piece by piece and padded with its bit count: FIPS 180-4, section 5.1.1.
package protocol BlockHash {
  /// Bytes that do not fill a block yet.
  var rest: [UInt8] { get set }
  var byteCount: UInt64 { get set }
  /// The state, which is the digest at the end.
  var words: [UInt32] { get }
  /// Adds so many blocks to the state.
  mutating func compress(_ start: UnsafeRawPointer, blocks: Int)
}

extension BlockHash {
  package static var blockBytes: Int { 64 }

  /// Adds `bytes` behind those so far.
  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    byteCount &+= UInt64(bytes.count)
    var start = 0
    if !rest.isEmpty {
      start = min(bytes.count, Self.blockBytes - rest.count)
      rest += bytes[..<start]
      guard rest.count == Self.blockBytes else { return }
      let block = rest
      block.withUnsafeBytes { block in compress(block.baseAddress!, blocks: 1) }
      rest.removeAll(keepingCapacity: true)
    }
    let blocks = (bytes.count - start) / Self.blockBytes
    if blocks > 0, let base = bytes.baseAddress { compress(base + start, blocks: blocks) }
    rest += bytes[(start + blocks * Self.blockBytes)...]
  }

  /// Adds `bytes` behind those so far.
  package mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

  /// The digest of all bytes so far, in hexadecimal.
  package var hexDigest: String {
    var copy = self
    let bitCount = byteCount &* 8
    var end: [UInt8] = [0x80] + Array(repeating: 0, count: (Self.blockBytes * 2 - 9 - rest.count) % Self.blockBytes)
    withUnsafeBytes(of: bitCount.bigEndian) { end += $0 }
    copy.update(end)
    return copy.words.map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 8 - digits.utf8.count) + digits
    }.joined()
  }
}
