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
  /// What rounding between hosts has lost and counts in the next step, of each host: `host.0.classifier.bias`. Only where
  /// gradients are rounded.
  public static let residuals = "residuals.safetensors"
}

extension AdamWOptimizer.Moment {
  /// What stands in front of a weight's name.
  fileprivate var prefix: String { self == .first ? "exp_avg." : "exp_avg_sq." }
}

/// A file of arrays in the order of the layout, tensor by tensor: the moments, or what rounding has lost on each host.
struct StateArraysFile: Sendable {
  let name: String
  /// In front of the names of each array's tensors.
  let prefixes: [String]
  let slots: [ParameterSlot]

  static func moments(_ slots: [ParameterSlot]) -> StateArraysFile {
    StateArraysFile(name: StateFile.optimizer, prefixes: AdamWOptimizer.Moment.allCases.map(\.prefix), slots: slots)
  }

  static func residuals(hosts: Int, _ slots: [ParameterSlot]) -> StateArraysFile {
    StateArraysFile(name: StateFile.residuals, prefixes: (0..<hosts).map { "host.\($0)." }, slots: slots)
  }

  func begin(in folder: String) throws(Failure) -> SafetensorsWriter {
    try SafetensorsWriter("\(folder)/\(name)", tensors)
  }

  /// What the file begins with.
  var header: [UInt8] { SafetensorsWriter.header(tensors) }

  private var tensors: [SafetensorsWriter.Tensor] {
    prefixes.flatMap { prefix in slots.map { .init(prefix + $0.name, shape: $0.shape) } }
  }

  /// - Parameter array: whole; the next of `prefixes`.
  func append(_ array: UnsafeBufferPointer<Float>, to writer: SafetensorsWriter) throws(Failure) {
    for slot in slots { try writer.append(UnsafeBufferPointer(rebasing: array[slot.range])) }
  }
}

extension TrainingEngine {
  /// What a copy of the state takes, on rank 0.
  public var stateCopyNeed: MemoryNeed { MemoryNeed(rank: stateBytes, host: stateBytes) }

  /// Bytes of what a checkpoint holds of the state.
  var stateBytes: Int { stateCopyArrays * model.layout.count * MemoryLayout<Float>.stride }

  /// Weights, moments, and what rounding has lost on each host.
  var stateCopyArrays: Int { 3 + synchronizer.residualGroups }

  /// The files of all state but the weights.
  var stateArraysFiles: [StateArraysFile] {
    let hosts = synchronizer.residualGroups
    return [.moments(trainedSlots)] + (hosts > 0 ? [.residuals(hosts: hosts, trainedSlots)] : [])
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
  /// - Throws: on all ranks, where rank 0 could not write; everything is as before then. Or `.disagreement`, see
  ///   `checkLockstep`.
  @discardableResult
  public func save(
    _ manifest: CheckpointManifest, to store: CheckpointStore?, keeping limit: Int? = nil,
    _ write: (_ folder: String) throws(Failure) -> Void
  ) throws(Failure) -> String {
    precondition(rowsInStep == 0, "a checkpoint within an accumulation window")
    try checkLockstepUnlessDone()
    return try retryingWhereTakenAway { (_) throws(Failure) in try saveOnce(manifest, to: store, keeping: limit, write)
    }
  }

  private func saveOnce(
    _ manifest: CheckpointManifest, to store: CheckpointStore?, keeping limit: Int?,
    _ write: (_ folder: String) throws(Failure) -> Void
  ) throws(Failure) -> String {
    let manifest = placed(manifest)
    var saved: Result<String, Failure> = .success("")
    var isAssembled = false
    if communicator.isMain, let store {
      do throws(Failure) {
        let path = try store.save(manifest, keeping: limit, needing: stateBytes) { (folder) throws(Failure) in
          try write(folder)
          isAssembled = true
          // The others take part in all of it, so a failure waits for the end.
          var failure: Failure?
          var writers: [SafetensorsWriter] = []
          do throws(Failure) {
            for file in stateArraysFiles { writers.append(try file.begin(in: folder)) }
          } catch { failure = error }
          try forEachArray { file, whole in
            guard failure == nil else { return }
            do throws(Failure) {
              try stateArraysFiles[file].append(UnsafeBufferPointer(whole.buffer), to: writers[file])
            } catch { failure = error }
          }
          if let failure { throw failure }
          for writer in writers { try writer.commit() }
          return ([StateFile.weights] + stateArraysFiles.map(\.name)).map { .init(name: $0, bytes: 0, sha256: []) }
        }
        saved = .success(path)
      } catch { saved = .failure(error) }
    }
    // The others take part whether rank 0 can write or not.
    if !isAssembled { try forEachArray { _, _ in } }
    return try communicator.agree { () throws(Failure) in try saved.get() }
  }

  /// Goes on from a checkpoint: overwrites weights and moments on every rank, and the step. Called by all ranks, before
  /// the first backward or between steps.
  ///
  /// - Parameters:
  ///   - checkpoint: read on rank 0, which gives it to the others; nil on those.
  ///   - manifest: its own, on every rank.
  /// - Returns: what the user should know; the same on every rank.
  @discardableResult
  public func load(_ checkpoint: Checkpoint?, _ manifest: CheckpointManifest) throws(Failure) -> String? {
    precondition(rowsInStep == 0, "a checkpoint within an accumulation window")
    let skipped = try Self.skippedSteps(manifest)
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
    optimizer.resume(at: manifest.step - skipped)
    skippedSteps = skipped
    takenSinceCheck = TakenSteps()
    let note = try loadResiduals(checkpoint, manifest)
    synchronizer.forgetGradients()
    communicator.noteStep(steps)
    return note
  }

  /// Goes on with what rounding has lost on each host, or with nothing where there are other hosts now.
  private func loadResiduals(_ checkpoint: Checkpoint?, _ manifest: CheckpointManifest) throws(Failure) -> String? {
    let hosts = synchronizer.residualGroups
    let saved = manifest.state.first { $0.name == Self.hostsName }?.value ?? "0"
    guard saved == "\(hosts)" else {
      synchronizer.forgetResiduals()
      return
        "the checkpoint has what rounding between hosts has lost of \(saved.escapingControlCharacters) hosts, not \(hosts): "
        + "it begins at 0, so the numbers follow the same curve, but not to the bit"
    }
    guard hosts > 0 else { return nil }
    let file = StateArraysFile.residuals(hosts: hosts, trainedSlots)
    let whole = synchronizer.common
    for host in 0..<hosts {
      try communicator.agree { () throws(Failure) in
        guard let checkpoint, communicator.isMain else { return }
        try read(trainedSlots, from: checkpoint.file(StateFile.residuals), prefix: file.prefixes[host], into: whole)
      }
      try synchronizer.scatterResiduals(
        ofGroup: host, from: synchronizer.isInFirstGroup ? whole.pointer : nil)
      try communicator.barrier()
    }
    return nil
  }

  private static let skippedName = "steps left out"
  private static let hostsName = "hosts that round"

  /// The manifest of a checkpoint that is saved now: with the step, and how many were left out.
  func placed(_ manifest: CheckpointManifest) -> CheckpointManifest {
    var manifest = manifest
    manifest.step = steps
    let hosts = synchronizer.residualGroups
    if hosts > 0 { manifest.state.append(.init(Self.hostsName, "\(hosts)")) }
    if skippedSteps > 0 { manifest.state.append(.init(Self.skippedName, "\(skippedSteps)")) }
    return manifest
  }

  private static func skippedSteps(_ manifest: CheckpointManifest) throws(Failure) -> Int {
    guard let text = manifest.state.first(where: { $0.name == skippedName })?.value else { return 0 }
    guard let count = Int(text), (0...manifest.step).contains(count) else {
      throw Failure(
        .badData, at: CheckpointManifest.fileName,
        "\(skippedName): \"\(text.escapingControlCharacters)\", expected 0 to its step, \(manifest.step)")
    }
    return count
  }

  fileprivate var trainedSlots: [ParameterSlot] {
    let first = encoderIsFrozen ? model.layout.headOffset : 0
    return model.layout.slots.filter { $0.offset >= first }
  }

  /// Calls `body` with the number of a file and each of its arrays after the other, put together: on rank 0 the memory is
  /// whole. Called by all ranks.
  private func forEachArray(_ body: (_ file: Int, FloatBuffer) -> Void) throws(Failure) {
    let whole = synchronizer.common
    let isFirst = synchronizer.isInFirstGroup
    synchronizer.forgetGradients()
    for moment in AdamWOptimizer.Moment.allCases {
      if isFirst { optimizer.copyMoments(moment, to: whole.pointer) }
      try communicator.barrier()
      body(0, whole)
      // Nobody overwrites what is not written yet.
      try communicator.barrier()
    }
    for host in 0..<synchronizer.residualGroups {
      try synchronizer.gatherResiduals(ofGroup: host, into: isFirst ? whole.pointer : nil)
      try communicator.barrier()
      body(1, whole)
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
