import BERT
import Checkpoints
import Collectives
import System
import Training

/// Something of a program's own that is saved with a training's state, such as a counter.
public protocol CheckpointedState: AnyObject {
  /// The state as text; rank 0's is saved.
  func savedState() throws -> String
  /// Goes on from what `savedState` gave; called on every rank.
  func restore(_ state: String) throws
}

extension Accelerator {
  /// From now on `saveState` saves these, too, and `loadState` restores them. Called by all ranks with as many objects, in
  /// the same order.
  public func registerForCheckpointing(_ objects: any CheckpointedState...) { registered += objects }

  /// Saves weights, the optimizer's moments and step, and what was registered, whole or not at all: a folder
  /// `step-000120` in `path`, which also loads as a model. Dropout and order need no state: they are functions of seed,
  /// step and row. Called by all ranks, between the optimizer's step and the next backward.
  ///
  /// - Parameters:
  ///   - path: a folder for checkpoints; made where it is missing.
  ///   - limit: the most checkpoints that stay there; nil for all.
  /// - Returns: the checkpoint's folder.
  /// - Throws: on all ranks, a misuse within an accumulation window, or what keeps rank 0 from writing.
  @discardableResult
  public func saveState(to path: String, keeping limit: Int? = nil) throws(Failure) -> String {
    let (model, session) = try onlyModel("accelerator.saveState")
    guard let engine = session.engine else {
      throw misuse("accelerator.saveState", "nothing was trained yet, expected at least one step")
    }
    guard engine.rowsInStep == 0 else {
      throw misuse(
        "accelerator.saveState", "within an accumulation window, expected after optimizer.step",
        hint: "accelerator.syncGradients is true where a window is complete")
    }
    var manifest = CheckpointManifest(step: engine.steps)
    manifest.ranks = numProcesses
    manifest.seed = model.seed
    manifest.state = try communicator.agree { () throws(Failure) in
      do {
        return try registered.enumerated().map { .init("registered \($0.offset)", try $0.element.savedState()) }
      } catch { throw failure(of: error) }
    }
    let store = try communicator.agree { () throws(Failure) in
      guard isMainProcess else { return CheckpointStore?.none }
      if !isDirectory(path) { try makeDirectory(path) }
      return CheckpointStore(realPath(path))
    }
    let saved = try engine.save(manifest, to: store, keeping: limit) { (folder) throws(Failure) in
      try model.folder.write(session.weights, into: folder, labelNames: [])
    }
    return String(decoding: try communicator.broadcast(Array(saved.utf8), from: 0), as: UTF8.self)
  }

  /// Goes on from a state that `saveState` saved, on any number of ranks: weights, moments, step, and what is registered.
  /// A schedule finds its rate at its next `step`, which counts the optimizer's steps; `skipFirstBatches` goes on within
  /// an epoch. Called by all ranks, after `prepare` and between steps.
  ///
  /// - Parameter path: a checkpoint, or a folder of checkpoints, of which the newest complete one is taken.
  /// - Returns: the optimizer steps behind it, those left out included.
  /// - Throws: `.missingInput` or `.badData` on all ranks, with file and field, where it is none, damaged or of another
  ///   model.
  @discardableResult
  public func loadState(from path: String) throws(Failure) -> Int {
    let (model, session) = try onlyModel("accelerator.loadState")
    let found = try communicator.agree { () throws(Failure) in
      try isMainProcess ? Self.checkpoint(path) : Checkpoint?.none
    }
    let bytes = try communicator.broadcast(found?.manifest.bytes ?? [], from: 0)
    let manifest = try CheckpointManifest(bytes, path: path)
    let states = manifest.state.filter { $0.name.hasPrefix("registered ") }
    guard states.count == registered.count else {
      throw Failure(
        .badData, at: path, "was saved with \(states.count) registered objects, expected \(registered.count)",
        hint: "register the same objects in the same order before loadState")
    }
    // Room for the shortest batch; the first forward makes more.
    let length = model.configuration.maximumPositions
    let engine = try session.engine(for: model, BatchLimits(tokens: length, sequences: 1, length: length))
    guard engine.rowsInStep == 0 else {
      throw misuse("accelerator.loadState", "within an accumulation window, expected between steps")
    }
    try engine.load(found, manifest)
    try communicator.agree { () throws(Failure) in
      do {
        for (object, state) in zip(registered, states) { try object.restore(state.value) }
      } catch { throw failure(of: error) }
    }
    return manifest.step
  }

  private static func checkpoint(_ path: String) throws(Failure) -> Checkpoint {
    if PrivateFolder.hasFile("\(path)/\(CheckpointManifest.fileName)") {
      let checkpoint = try Checkpoint(path)
      try checkpoint.verify()
      return checkpoint
    }
    var damage: Failure?
    if let newest = try CheckpointStore(path).latest(skipped: { damage = $0 }) { return newest }
    throw damage ?? Failure(.missingInput, at: path, "holds no checkpoint", hint: "saveState makes one")
  }

  private func onlyModel(
    _ call: String
  ) throws(Failure) -> (model: BertForSequenceClassification, session: Session) {
    guard models.count == 1, let session = models[0].session, !session.isLocal else {
      throw misuse(call, "\(models.count) models are prepared, expected one, outside of LocalSGD")
    }
    return (models[0], session)
  }
}
