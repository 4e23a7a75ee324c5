import Checkpoints
import Collectives
import Synchronization
import System

/// Writes checkpoints while training goes on: the ranks copy the state, and rank 0 writes the copy, one at a time.
public final class CheckpointWriter {
  private let copy: StateCopy
  /// On rank 0.
  private let storePath: String?
  private let limit: Int?
  /// The one that is being written.
  private var pending: (thread: Thread, result: Outcome)?
  private static let stackBytes = 1 << 20

  private final class Outcome: Sendable {
    let failure = Mutex<Failure?>(nil)

    func check() throws(Failure) {
      if let failure = failure.withLock({ $0 }) { throw failure }
    }
  }

  /// Takes the memory for the copy; see ``TrainingEngine/stateCopyNeed``. Called by all ranks; nil on all where they can't
  /// have it.
  ///
  /// - Parameters:
  ///   - store: where to write; used on rank 0.
  ///   - limit: complete checkpoints that stay; nil for all.
  public init?(_ engine: TrainingEngine, to store: CheckpointStore?, keeping limit: Int?) throws(Failure) {
    guard let copy = try StateCopy(of: engine) else { return nil }
    self.copy = copy
    self.limit = limit
    storePath = engine.communicator.isMain ? store?.path : nil
  }

  /// Where training fails, the checkpoint that is being written becomes whole all the same: its numbers are good.
  deinit { pending?.thread.join() }

  /// Copies the state and begins to write it. Called by all ranks, between steps; the one before is finished.
  public func begin(_ engine: TrainingEngine, _ manifest: CheckpointManifest, _ model: SavedModel) throws(Failure) {
    precondition(pending == nil, "two checkpoints at once")
    try engine.copyState(to: copy)
    guard let storePath else { return }
    let manifest = engine.placed(manifest)
    let outcome = Outcome()
    let needed = engine.stateBytes
    let write = { @Sendable [copy, limit] in
      do throws(Failure) {
        try CheckpointStore(storePath).save(manifest, keeping: limit, needing: needed) { (folder) throws(Failure) in
          try copy.write(model, into: folder)
        }
      } catch { outcome.failure.withLock { $0 = error } }
    }
    if let thread = Thread(stackBytes: Self.stackBytes, write) {
      pending = (thread, outcome)
    } else {
      // Where the system gives no thread, the training waits.
      write()
      try outcome.check()
    }
  }

  /// Waits until the last one is written. Called by all ranks, on all of which it throws what rank 0 met.
  public func finish(_ communicator: any Communicator) throws(Failure) {
    try communicator.agree { () throws(Failure) in
      guard let (thread, outcome) = pending else { return }
      thread.join()
      pending = nil
      try outcome.check()
    }
  }
}
