import Checkpoints
import System

/// Writes pieces of a checkpoint's files from a copy of the state, one or two at a time: two hashes take little longer than
/// one.
struct PieceWriter {
  private let images: [StateImage]
  private let copy: UnsafePointer<Float>
  private let blocks: [UnsafeMutableRawBufferPointer]

  /// Written at a time. Pieces are multiples of it.
  private static let blockBytes = 1 << 20
  /// Copied and hashed at a time, so that the second finds in the first cache what the first leaves there.
  private static let partBytes = 1 << 14

  /// What is written: a piece of a file with a header.
  struct Piece {
    /// Which image.
    var file: Int
    var number: Int
    var headerBytes: Int
    /// Empty where the piece has none of it.
    var header: [UInt8]
    var output: PositionedFile
  }

  /// Calls `body` with a writer, whose memory is there as long.
  static func with<Result>(
    _ images: [StateImage], _ copy: UnsafePointer<Float>, _ body: (PieceWriter) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let blocks = (0..<2).map { _ in
      UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: PositionedFile.alignment)
    }
    defer { for block in blocks { block.deallocate() } }
    return try body(PieceWriter(images: images, copy: copy, blocks: blocks))
  }

  /// Writes one or two pieces to their places.
  ///
  /// - Returns: the SHA-256 of each.
  /// - Throws: `.badData` for a value that is not finite; `.ioError`.
  func write(_ pieces: [Piece]) throws(Failure) -> [String] {
    let ranges = pieces.map { piece in
      FilePieces.range(piece.number, ofBytes: piece.headerBytes + images[piece.file].dataBytes)
    }
    var hashes = (SHA256(), SHA256())
    for start in stride(from: 0, to: FilePieces.byteCount, by: Self.blockBytes) {
      for offset in stride(from: 0, to: Self.blockBytes, by: Self.partBytes) {
        /// The next bytes of a piece, copied to their place in its block.
        func part(_ index: Int) throws(Failure) -> UnsafeRawBufferPointer {
          let (piece, place) = (pieces[index], ranges[index].lowerBound + start + offset)
          let count = max(0, min(Self.partBytes, ranges[index].upperBound - place))
          let part = UnsafeMutableRawBufferPointer(rebasing: blocks[index][offset..<offset + count])
          try images[piece.file].read(
            into: part, at: place, headerBytes: piece.headerBytes, header: piece.header, from: copy,
            path: piece.output.path)
          return UnsafeRawBufferPointer(part)
        }
        if pieces.count == 2 {
          SHA256.update(&hashes.0, try part(0), &hashes.1, try part(1))
        } else {
          hashes.0.update(try part(0))
        }
      }
      for ((piece, range), block) in zip(zip(pieces, ranges), blocks) {
        let count = max(0, min(Self.blockBytes, range.count - start))
        try piece.output.write(UnsafeRawBufferPointer(rebasing: block[..<count]), at: range.lowerBound + start)
      }
    }
    return [hashes.0, hashes.1].prefix(pieces.count).map(\.hexDigest)
  }
}
