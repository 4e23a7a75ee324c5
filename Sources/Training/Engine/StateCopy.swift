import BERT
import Checkpoints
import Collectives
import Glibc
import Kernels
import System

/// A copy of what a checkpoint holds of a training, to be written while that goes on. Every rank has its view of it.
///
/// Unchecked: the ranks fill it while nobody writes it, and their threads that write it to files only read it; the start and
/// end of those threads order the two. What the threads tell one another stands on the board.
final class StateCopy: @unchecked Sendable {
  /// [3 + hosts, parameters]: the weights, both moments, and what rounding has lost on each host where it rounds; behind
  /// that the board. Of rank 0's host, whose ranks all see it; nil on others.
  private let memory: FloatBuffer?
  private let count: Int
  /// In their order in the memory, behind the weights.
  private let files: [StateArraysFile]
  /// The weights' file and then the others.
  private let images: [StateImage]
  private let board: PieceBoard?

  /// Bytes of a file's header for which the board has room.
  private static let headerLimit = 1 << 20

  /// Takes the memory, and has the system give its pages, each to the rank that will write it: else the first copy would
  /// wait for that. Called by all ranks, between steps; nil on all where the memory can't be had.
  init?(of engine: TrainingEngine) throws(Failure) {
    let communicator = engine.communicator
    let count = engine.model.layout.count
    self.count = count
    files = engine.stateArraysFiles
    var array = 0
    func image(_ name: String, _ prefixes: [String], _ slots: [ParameterSlot]) -> StateImage {
      let tensors = prefixes.flatMap { prefix in
        defer { array += 1 }
        return slots.map { slot in
          (prefix + slot.name, array * count + slot.range.lowerBound..<array * count + slot.range.upperBound)
        }
      }
      return StateImage(name, tensors)
    }
    images =
      [image(StateFile.weights, [""], engine.model.layout.slots)]
      + files.map { image($0.name, $0.prefixes, $0.slots) }
    let pieces = images.reduce(0) { $0 + FilePieces.count(ofBytes: Self.headerLimit + $1.dataBytes) }
    // Lines of the caches are not shared with the arrays.
    let boardStart = (engine.stateCopyArrays * count + 15) / 16 * 16
    let all = boardStart + (PieceBoard.byteCount(capacity: pieces) + 3) / MemoryLayout<Float>.stride
    if engine.model.isShared {
      let block = try communicator.makeHostMemory(count: communicator.isMain ? all : 16)
      guard try communicator.allGather(block == nil ? 0 : 1).allSatisfy({ $0 == 1 }), let block else { return nil }
      memory = engine.synchronizer.isInFirstGroup ? FloatBuffer(block.parts[0], keeping: block) : nil
    } else {
      memory = communicator.isMain ? FloatBuffer(count: all) : nil
    }
    board = memory.map { PieceBoard(at: $0.pointer + boardStart, capacity: pieces) }
    try fill(from: engine)
  }

  /// Copies this rank's share. Called by all ranks, between steps.
  func fill(from engine: TrainingEngine) throws(Failure) {
    precondition(engine.rowsInStep == 0, "a copy of the state within an accumulation window")
    let communicator = engine.communicator
    if let memory {
      let (place, ranks) = engine.model.isShared ? (communicator.localRank, communicator.localSize) : (0, 1)
      let part = count * place / ranks..<count * (place + 1) / ranks
      copyPastCaches(
        engine.model.parameters.pointer + part.lowerBound, to: memory.pointer + part.lowerBound, count: part.count)
      for moment in AdamWOptimizer.Moment.allCases {
        engine.optimizer.copyMoments(moment, to: memory.pointer + (moment == .first ? count : 2 * count))
      }
    }
    for host in 0..<engine.synchronizer.residualGroups {
      try engine.synchronizer.gatherResiduals(ofGroup: host, into: memory.map { $0.pointer + (3 + host) * count })
    }
    if communicator.isMain { board?.reset() }
    try communicator.barrier()
  }

  // MARK: Writing

  /// Writes the weights, with what belongs to them, and the rest of the state into the folder. On rank 0.
  ///
  /// - Parameter alone: without the other ranks, which may still be at work on the files of an earlier try.
  /// - Returns: the files of the state, with their digests.
  func write(_ model: SavedModel, into folder: String, alone: Bool) throws(Failure) -> [CheckpointManifest.File] {
    guard let memory, let board else { preconditionFailure("a copy of the state that this rank does not see") }
    let outputs = try images.map { (image) throws(Failure) in
      try PositionedFile(creating: "\(folder)/\(image.name)")
    }
    let headers = ([model.weightsHeader] + files.map(\.header)).map {
      PieceWriter.Header(byteCount: $0.count, bytes: $0)
    }
    if alone { board.close() } else { board.open(headers.map(\.byteCount)) }
    try model.writeFiles(into: folder)
    return try PieceWriter.with(images, headers, outputs, from: memory.pointer) { (writer) throws(Failure) in
      let pieces = writer.pieces
      var digests = [String?](repeating: nil, count: pieces.all.count)
      for index in 0..<pieces.first { digests[index] = try writer.write([index])[0] }
      if !alone {
        let shared = pieces.sharedCount(board)
        try writer.writeShared(board)
        board.waitForOthers(count: shared)
        for index in 0..<shared { digests[pieces.first + index] = board.digest(index) }
      }
      for index in digests.indices where digests[index] == nil { digests[index] = try writer.write([index])[0] }
      for output in outputs { try output.flush() }
      return images.indices.map { file in
        let own = zip(pieces.all, digests).filter { $0.0.file == file }
        return .init(name: images[file].name, bytes: writer.byteCount(of: file), sha256: own.compactMap(\.1))
      }
    }
  }

  /// Has the ranks that help stop. On rank 0.
  func close() { board?.close() }

  /// Whether this rank sees the copy and may help to write it.
  var canHelp: Bool { board != nil }

  /// Writes pieces of the files in the folder until none is left. On the ranks that see the copy, but for rank 0. What this
  /// rank can't write rank 0 writes.
  ///
  /// - Parameter mayEnd: whether to stop before then.
  func help(in folder: String, until mayEnd: () -> Bool) {
    guard let memory, let board else { return }
    let napMicroseconds = UInt32(500)
    while board.stage == .preparing {
      if mayEnd() { return }
      usleep(napMicroseconds)
    }
    let headers = board.headers(images.count).map { PieceWriter.Header(byteCount: $0, bytes: []) }
    // What fails here rank 0 does, and says why where it fails there, too.
    try? PieceWriter.with(
      images, headers,
      images.map { (image) throws(Failure) in try PositionedFile(joining: "\(folder)/\(image.name)") },
      from: memory.pointer
    ) { (writer) throws(Failure) in try writer.writeShared(board, until: mayEnd) }
  }
}
