import BERT
import Checkpoints
import Collectives
import DataParallel
import Datasets
import Kernels
import Safetensors
import System

/// The files of a checkpoint that hold numbers.
public enum StateFile {
  public static let weights = "model.safetensors"
  /// The moments, under torch's names and those of the weights: `exp_avg.classifier.bias`, `exp_avg_sq.classifier.bias`.
  public static let optimizer = "optimizer.safetensors"
}

extension AdamWOptimizer.Moment {
  /// What stands in front of a weight's name.
  fileprivate var prefix: String { self == .first ? "exp_avg." : "exp_avg_sq." }
}

/// The file of the moments, tensor by tensor.
struct OptimizerFile: Sendable {
  let slots: [ParameterSlot]

  func begin(in folder: String) throws(Failure) -> SafetensorsWriter {
    try SafetensorsWriter(
      "\(folder)/\(StateFile.optimizer)",
      AdamWOptimizer.Moment.allCases.flatMap { moment in
        slots.map { .init(moment.prefix + $0.name, shape: $0.shape) }
      })
  }

  /// - Parameter moment: in the order of the layout; the next of `AdamWOptimizer.Moment`.
  func append(_ moment: UnsafeBufferPointer<Float>, to writer: SafetensorsWriter) throws(Failure) {
    for slot in slots { try writer.append(UnsafeBufferPointer(rebasing: moment[slot.range])) }
  }
}

/// A copy of what a checkpoint holds of a training, to be written while that goes on. Every rank has its view of it.
///
/// Unchecked: the ranks fill it while nobody writes it, and rank 0's thread that writes it only reads; the start and end of
/// that thread order the two.
final class StateCopy: @unchecked Sendable {
  /// [3, parameters]: the weights, and both moments. Of rank 0's host, whose ranks all see it; nil on others.
  private let memory: FloatBuffer?
  private let count: Int
  private let file: OptimizerFile

  /// Called by all ranks; nil on all where the memory can't be had.
  init?(of engine: TrainingEngine) throws(Failure) {
    let communicator = engine.communicator
    count = engine.model.layout.count
    file = OptimizerFile(slots: engine.trainedSlots)
    let all = 3 * count
    guard engine.model.isShared else {
      memory = communicator.isMain ? FloatBuffer(count: all) : nil
      return
    }
    let block = try communicator.makeHostMemory(count: communicator.isMain ? all : 16)
    guard try communicator.allGather(block == nil ? 0 : 1).allSatisfy({ $0 == 1 }), let block else { return nil }
    memory = engine.synchronizer.isInFirstGroup ? FloatBuffer(block.parts[0], keeping: block) : nil
  }

  /// Copies this rank's share. Called by all ranks.
  fileprivate func fill(from engine: TrainingEngine) throws(Failure) {
    if let memory {
      let communicator = engine.communicator
      let (place, ranks) = engine.model.isShared ? (communicator.localRank, communicator.localSize) : (0, 1)
      let part = count * place / ranks..<count * (place + 1) / ranks
      (memory.pointer + part.lowerBound).update(
        from: engine.model.parameters.pointer + part.lowerBound, count: part.count)
      for moment in AdamWOptimizer.Moment.allCases {
        engine.optimizer.copyMoments(moment, to: memory.pointer + start(of: moment))
      }
    }
    try engine.communicator.barrier()
  }

  /// Writes the weights, with what belongs to them, and the moments into the folder. On rank 0.
  func write(_ model: SavedModel, into folder: String) throws(Failure) {
    guard let memory else { preconditionFailure("a copy of the state that this rank does not see") }
    try model.write(UnsafeBufferPointer(start: memory.pointer, count: count), into: folder)
    let writer = try file.begin(in: folder)
    for moment in AdamWOptimizer.Moment.allCases {
      try file.append(UnsafeBufferPointer(start: memory.pointer + start(of: moment), count: count), to: writer)
    }
    try writer.commit()
  }

  private func start(of moment: AdamWOptimizer.Moment) -> Int { moment == .first ? count : 2 * count }
}

extension TrainingEngine {
  /// What a copy of the state takes, on rank 0.
  public var stateCopyNeed: MemoryNeed {
    let bytes = 3 * model.layout.count * MemoryLayout<Float>.stride
    return MemoryNeed(rank: bytes, host: bytes)
  }

  /// Copies the state. Called by all ranks, between steps.
  func copyState(to copy: StateCopy) throws(Failure) {
    precondition(rowsInStep == 0, "a copy of the state within an accumulation window")
    try copy.fill(from: self)
  }

  /// Saves weights, moments and the step as a checkpoint. Called by all ranks, between steps.
  ///
  /// Each rank holds the moments of its slice of the weights, in its own memory. They are put together in the gradients of
  /// rank 0, which all ranks of its host see and nobody needs between steps, and rank 0 writes them: so a checkpoint is
  /// the same file whatever the number of ranks, one process alone changes folders, and no memory is needed for it. Ranks
  /// that see no common memory hold all moments themselves.
  ///
  /// - Parameters:
  ///   - manifest: all but the step and the files.
  ///   - store: where to; used on rank 0.
  ///   - limit: complete checkpoints that stay; nil for all.
  ///   - write: writes the weights and what belongs to them into the folder that it gets, on rank 0.
  /// - Returns: the folder.
  /// - Throws: on all ranks, where rank 0 could not write. Everything is as before then.
  @discardableResult
  public func save(
    _ manifest: CheckpointManifest, to store: CheckpointStore?, keeping limit: Int? = nil,
    _ write: (_ folder: String) throws(Failure) -> Void
  ) throws(Failure) -> String {
    precondition(rowsInStep == 0, "a checkpoint within an accumulation window")
    var manifest = manifest
    manifest.step = optimizer.step
    let file = OptimizerFile(slots: trainedSlots)
    var saved: Result<String, Failure> = .success("")
    var isAssembled = false
    if communicator.isMain, let store {
      do throws(Failure) {
        let path = try store.save(manifest, keeping: limit) { (folder) throws(Failure) in
          try write(folder)
          let writer = try file.begin(in: folder)
          isAssembled = true
          var failure: Failure?
          try forEachMoment { _, whole in
            guard failure == nil else { return }
            do throws(Failure) { try file.append(UnsafeBufferPointer(whole.buffer), to: writer) } catch {
              failure = error
            }
          }
          if let failure { throw failure }
          try writer.commit()
        }
        saved = .success(path)
      } catch { saved = .failure(error) }
    }
    // The others take part whether rank 0 can write or not.
    if !isAssembled { try forEachMoment { _, _ in } }
    let path = try communicator.agree { () throws(Failure) in try saved.get() }
    return path
  }

  /// Goes on from a checkpoint: overwrites weights and moments on every rank, and the step. Called by all ranks, before
  /// the first backward or between steps.
  ///
  /// - Parameter checkpoint: read on rank 0, which gives it to the others; nil on those.
  public func load(_ checkpoint: Checkpoint?, step: Int) throws(Failure) {
    precondition(rowsInStep == 0, "a checkpoint within an accumulation window")
    try communicator.agree { () throws(Failure) in
      guard let checkpoint, communicator.isMain else { return }
      try read(model.layout.slots, from: checkpoint.file(StateFile.weights), prefix: "", into: model.parameters)
    }
    try model.broadcast(communicator)
    let whole = synchronizer.common
    for moment in AdamWOptimizer.Moment.allCases {
      try communicator.agree { () throws(Failure) in
        guard let checkpoint, communicator.isMain else { return }
        try read(trainedSlots, from: checkpoint.file(StateFile.optimizer), prefix: moment.prefix, into: whole)
      }
      try model.memory.broadcast(whole, communicator)
      optimizer.setMoments(moment, from: whole.pointer)
      try communicator.barrier()
    }
    optimizer.resume(at: step)
    synchronizer.forgetGradients()
    communicator.noteStep(step)
  }

  fileprivate var trainedSlots: [ParameterSlot] {
    let first = encoderIsFrozen ? model.layout.headOffset : 0
    return model.layout.slots.filter { $0.offset >= first }
  }

  /// Calls `body` with all moments of one kind after the other, put together: on rank 0 the memory is whole. Called by all
  /// ranks.
  private func forEachMoment(_ body: (AdamWOptimizer.Moment, FloatBuffer) -> Void) throws(Failure) {
    let whole = synchronizer.common
    synchronizer.forgetGradients()
    for moment in AdamWOptimizer.Moment.allCases {
      if synchronizer.isInFirstGroup { optimizer.copyMoments(moment, to: whole.pointer) }
      try communicator.barrier()
      body(moment, whole)
      // Nobody overwrites what is not written yet.
      try communicator.barrier()
    }
  }

  private func read(
    _ slots: [ParameterSlot], from path: String, prefix: String, into whole: FloatBuffer
  ) throws(Failure) {
    let file = try SafetensorsFile(path)
    for slot in slots {
      let name = prefix + slot.name
      guard let tensor = file.tensor(named: name) else {
        throw Failure(.badData, at: path, "has no tensor \(name)", hint: "the checkpoint is of another model")
      }
      guard tensor.shape == slot.shape, tensor.dtype == .f32 else {
        throw Failure(
          .badData, at: path, "tensor \(name) is \(tensor.dtypeName) \(tensor.shape), expected F32 \(slot.shape)",
          hint: "the checkpoint is of another model")
      }
      try file.read(
        tensor, into: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: whole.buffer[slot.range])))
    }
  }
}
