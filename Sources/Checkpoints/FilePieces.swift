import System

/// The pieces of a checkpoint's file, each of which has a digest of its own: so several ranks write a file at the same time,
/// and damage has a place.
public enum FilePieces {
  /// Bytes of each piece but the last, which may have fewer.
  public static let byteCount = 1 << 22

  /// How many a file of so many bytes has; an empty file has one.
  public static func count(ofBytes bytes: Int) -> Int { max(1, bytes / byteCount + (bytes % byteCount > 0 ? 1 : 0)) }

  /// The bytes of a piece of a file of so many bytes.
  public static func range(_ piece: Int, ofBytes bytes: Int) -> Range<Int> {
    piece * byteCount..<min((piece + 1) * byteCount, bytes)
  }

  /// SHA-256 of each piece of a file, as 64 hexadecimal digits. Two pieces are read at a time, for two hashes take little
  /// longer than one.
  static func digests(of file: InputFile) throws(Failure) -> [String] {
    let blockBytes = 1 << 18
    let blocks = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * blockBytes, alignment: 64)
    defer { blocks.deallocate() }
    let count = count(ofBytes: file.byteCount)
    var digests: [String] = []
    for first in stride(from: 0, to: count, by: 2) {
      let ranges = (first..<min(first + 2, count)).map { range($0, ofBytes: file.byteCount) }
      var hashes = (SHA256(), SHA256())
      for start in stride(from: 0, to: byteCount, by: blockBytes) {
        /// The next bytes of one of the pieces; none at its end.
        func part(_ piece: Int) throws(Failure) -> UnsafeRawBufferPointer {
          let left = max(0, min(blockBytes, ranges[piece].count - start))
          let part = UnsafeMutableRawBufferPointer(
            rebasing: blocks[piece * blockBytes..<piece * blockBytes + left])
          try file.read(into: part, at: ranges[piece].lowerBound + start)
          return UnsafeRawBufferPointer(part)
        }
        if ranges.count == 2 {
          SHA256.update(&hashes.0, try part(0), &hashes.1, try part(1))
        } else {
          hashes.0.update(try part(0))
        }
      }
      digests += [hashes.0, hashes.1].prefix(ranges.count).map(\.hexDigest)
    }
    return digests
  }
}
