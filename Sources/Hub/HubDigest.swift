import System

/// A digest that a file's bytes must have.
enum HubDigest {
  case gitBlob(SHA1)
  case sha256(SHA256)

  /// By an ETag of 40 or 64 digits.
  init(etag: String, byteCount: Int) {
    self = etag.utf8.count == 40 ? .gitBlob(SHA1(gitBlobOf: byteCount)) : .sha256(SHA256())
  }

  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    switch self {
    case .gitBlob(var hash):
      // Nothing else may hold it, or each update copies.
      self = .sha256(SHA256())
      hash.update(bytes)
      self = .gitBlob(hash)
    case .sha256(var hash):
      self = .sha256(SHA256())
      hash.update(bytes)
      self = .sha256(hash)
    }
  }

  var hexDigest: String {
    switch self {
    case .gitBlob(let hash): hash.hexDigest
    case .sha256(let hash): hash.hexDigest
    }
  }

  /// Whether the file at `path` has the digest that its ETag says.
  static func isGood(_ path: String, etag: String) throws(Failure) -> Bool {
    let file = try InputFile(path)
    var digest = HubDigest(etag: etag, byteCount: file.byteCount)
    try file.forEachPiece { digest.update($0) }
    return digest.hexDigest == etag
  }
}

extension InputFile {
  /// Reads the whole file, piece by piece.
  func forEachPiece(_ body: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { piece.deallocate() }
    for start in stride(from: 0, to: byteCount, by: piece.count) {
      let part = UnsafeMutableRawBufferPointer(rebasing: piece[..<min(piece.count, byteCount - start)])
      try read(into: part, at: start)
      try body(UnsafeRawBufferPointer(part))
    }
  }
}
