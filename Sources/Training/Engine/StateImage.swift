import BERT
import Checkpoints
import Safetensors
import System

/// A file of a checkpoint as it lies in a copy of the state: a header, and behind it floats of the copy.
struct StateImage: Sendable {
  let name: String
  /// The file's tensors in its order, each with its place in the copy, in floats.
  private let tensors: [(name: String, floats: Range<Int>)]
  /// The same places, those that follow one another joined.
  private let runs: [Range<Int>]
  /// Bytes behind the header.
  let dataBytes: Int

  private static let floatBytes = MemoryLayout<Float>.stride

  init(_ name: String, _ tensors: [(name: String, floats: Range<Int>)]) {
    self.name = name
    self.tensors = tensors
    var runs: [Range<Int>] = []
    for tensor in tensors {
      if let last = runs.last, last.upperBound == tensor.floats.lowerBound {
        runs[runs.count - 1] = last.lowerBound..<tensor.floats.upperBound
      } else {
        runs.append(tensor.floats)
      }
    }
    self.runs = runs
    dataBytes = runs.reduce(0) { $0 + $1.count } * Self.floatBytes
  }

  /// Fills `block` (overwrites it) with the bytes of the file from `place` on.
  ///
  /// - Parameters:
  ///   - header: of the file.
  ///   - copy: the floats of the state.
  ///   - path: for messages.
  /// - Throws: `.badData` for a value that is not finite, which could not be read again.
  func read(
    into block: UnsafeMutableRawBufferPointer, at place: Int, _ header: PieceWriter.Header,
    from copy: UnsafePointer<Float>, path: String
  ) throws(Failure) {
    let range = place..<place + block.count
    if place < header.byteCount { block.copyBytes(from: header.bytes[range.clamped(to: 0..<header.byteCount)]) }
    var start = header.byteCount
    for run in runs {
      let end = start + run.count * Self.floatBytes
      let part = range.clamped(to: start..<end)
      if !part.isEmpty {
        let first = run.lowerBound + (part.lowerBound - start) / Self.floatBytes
        let floats = UnsafeBufferPointer(start: copy + first, count: part.count / Self.floatBytes)
        if let index = firstNonFinite(floats) { throw unfit(first + index, floats[index], path) }
        UnsafeMutableRawBufferPointer(rebasing: block[(part.lowerBound - place)...])
          .copyMemory(from: UnsafeRawBufferPointer(floats))
      }
      start = end
    }
  }

  private func unfit(_ float: Int, _ value: Float, _ path: String) -> Failure {
    let tensor = tensors.first { $0.floats.contains(float) }
    let place = tensor.map { "value \(float - $0.floats.lowerBound) of \($0.name)" } ?? "a value"
    return Failure(.badData, at: path, "\(place) is \(value), expected a finite F32")
  }
}

/// The pieces of several files, in the order in which they are written: first those with the headers.
struct StatePieces {
  let all: [(file: Int, number: Int)]
  /// How many of them have headers; rank 0 writes those.
  let first: Int

  /// - Parameter headers: bytes of each image's header, less than a piece has.
  init(_ images: [StateImage], headers: [Int]) {
    precondition(headers.allSatisfy { $0 <= FilePieces.byteCount }, "a header of \(headers) bytes")
    first = images.count
    let further = zip(images, headers).enumerated().flatMap { file, pair in
      (1..<FilePieces.count(ofBytes: pair.1 + pair.0.dataBytes)).map { (file: file, number: $0) }
    }
    all = images.indices.map { (file: $0, number: 0) } + further
  }

  /// How many the board gives out: those behind the first.
  func sharedCount(_ board: PieceBoard) -> Int { min(board.capacity, all.count - first) }
}
