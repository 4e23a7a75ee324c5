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

  /// SHA-256 of each piece of a file, as 64 hexadecimal digits.
  static func digests(of file: InputFile) throws(Failure) -> [String] {
    let blockBytes = 1 << 18
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: 64)
    defer { block.deallocate() }
    return try (0..<count(ofBytes: file.byteCount)).map { (piece) throws(Failure) in
      let range = range(piece, ofBytes: file.byteCount)
      var hash = SHA256()
      for start in stride(from: range.lowerBound, to: range.upperBound, by: blockBytes) {
        let part = UnsafeMutableRawBufferPointer(rebasing: block[..<min(blockBytes, range.upperBound - start)])
        try file.read(into: part, at: start)
        hash.update(UnsafeRawBufferPointer(part))
      }
      return hash.hexDigest
    }
  }
}
