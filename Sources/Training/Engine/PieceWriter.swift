import Checkpoints
import System

/// Writes pieces of a checkpoint's files from a copy of the state, one or two at a time: two hashes take little longer than
/// one.
struct PieceWriter {
  /// What a file begins with.
  struct Header {
    var byteCount: Int
    /// Empty on ranks that write no piece with a header.
    var bytes: [UInt8]
  }

  let pieces: StatePieces
  private let images: [StateImage]
  private let headers: [Header]
  private let outputs: [PositionedFile]
  private let copy: UnsafePointer<Float>
  private let blocks: [UnsafeMutableRawBufferPointer]

  /// Written at a time. Pieces are multiples of it.
  private static let blockBytes = 1 << 20
  /// Copied and hashed at a time, so that the second finds in the first cache what the first leaves there.
  private static let partBytes = 1 << 14

  /// Calls `body` with a writer, whose memory is there as long.
  ///
  /// - Parameters:
  ///   - headers, outputs: of each image.
  ///   - copy: the floats of the state.
  static func with<Result>(
    _ images: [StateImage], _ headers: [Header], _ outputs: [PositionedFile], from copy: UnsafePointer<Float>,
    _ body: (PieceWriter) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let blocks = (0..<2).map { _ in
      UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: PositionedFile.alignment)
    }
    defer { for block in blocks { block.deallocate() } }
    return try body(
      PieceWriter(
        pieces: StatePieces(images, headers: headers.map(\.byteCount)), images: images, headers: headers,
        outputs: outputs, copy: copy, blocks: blocks))
  }

  /// Writes pieces that the board gives out until none is left, or no more may be taken. What meets an error is given back.
  func writeShared(_ board: PieceBoard, until mayEnd: () -> Bool = { false }) throws(Failure) {
    while board.stage == .open, !mayEnd() {
      let taken = board.take(2, of: pieces.sharedCount(board))
      if taken.isEmpty { return }
      do throws(Failure) {
        for (index, digest) in zip(taken, try write(taken.map { pieces.first + $0 })) { board.finish(index, digest) }
      } catch {
        for index in taken { board.giveBack(index) }
        throw error
      }
    }
  }

  /// Writes one or two pieces to their places.
  ///
  /// - Parameter indices: in `pieces`.
  /// - Returns: the SHA-256 of each.
  /// - Throws: `.badData` for a value that is not finite; `.ioError`.
  func write(_ indices: [Int]) throws(Failure) -> [String] {
    let taken = indices.map { pieces.all[$0] }
    let ranges = taken.map { FilePieces.range($0.number, ofBytes: byteCount(of: $0.file)) }
    var hashes = (SHA256(), SHA256())
    for start in stride(from: 0, to: FilePieces.byteCount, by: Self.blockBytes) {
      for offset in stride(from: 0, to: Self.blockBytes, by: Self.partBytes) {
        /// The next bytes of a piece, copied to their place in its block.
        func part(_ index: Int) throws(Failure) -> UnsafeRawBufferPointer {
          let (file, place) = (taken[index].file, ranges[index].lowerBound + start + offset)
          let count = max(0, min(Self.partBytes, ranges[index].upperBound - place))
          let part = UnsafeMutableRawBufferPointer(rebasing: blocks[index][offset..<offset + count])
          try images[file].read(into: part, at: place, headers[file], from: copy, path: outputs[file].path)
          return UnsafeRawBufferPointer(part)
        }
        if taken.count == 2 {
          SHA256.update(&hashes.0, try part(0), &hashes.1, try part(1))
        } else {
          hashes.0.update(try part(0))
        }
      }
      for ((piece, range), block) in zip(zip(taken, ranges), blocks) {
        let count = max(0, min(Self.blockBytes, range.count - start))
        try outputs[piece.file].write(UnsafeRawBufferPointer(rebasing: block[..<count]), at: range.lowerBound + start)
      }
    }
    return [hashes.0, hashes.1].prefix(taken.count).map(\.hexDigest)
  }

  /// Bytes of a whole file.
  func byteCount(of file: Int) -> Int { headers[file].byteCount + images[file].dataBytes }
}
