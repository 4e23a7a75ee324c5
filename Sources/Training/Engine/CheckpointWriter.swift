import Checkpoints
import Collectives
import Glibc
import Synchronization
import System

/// Writes checkpoints while training goes on: the ranks copy the state, and a thread of each rank of rank 0's host writes
/// pieces of the copy, one checkpoint at a time. Rank 0 alone makes, names and removes folders.
public final class CheckpointWriter {
  private let copy: StateCopy
  /// Where to write; nil where nothing is written.
  private let storePath: String?
  private let limit: Int?
  /// This rank's part of the one that is being written; without a thread where that is done.
  private var pending: (thread: Thread?, result: Outcome)?
  private static let stackBytes = 1 << 20

  private final class Outcome: Sendable {
    let failure = Mutex<Failure?>(nil)
    /// Whether a rank that helps is to stop.
    let mayEnd = Atomic(false)

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
    let path = try engine.communicator.broadcast(Array((store?.path ?? "").utf8), from: 0)
    storePath = path.isEmpty ? nil : String(decoding: path, as: UTF8.self)
  }

  /// Where training fails, the checkpoint that is being written becomes whole all the same: its numbers are good.
  deinit {
    pending?.result.mayEnd.store(true, ordering: .relaxed)
    pending?.thread?.join()
  }

  /// Copies the state, on which all ranks must agree, and begins to write it. Called by all ranks, between steps; the one
  /// before is finished.
  public func begin(_ engine: TrainingEngine, _ manifest: CheckpointManifest, _ model: SavedModel) throws(Failure) {
    precondition(pending == nil, "two checkpoints at once")
    try engine.checkLockstepUnlessDone()
    try copy.fill(from: engine)
    guard let storePath else { return }
    let outcome = Outcome()
    guard engine.communicator.isMain else {
      guard copy.canHelp else { return }
      let draft = CheckpointStore(storePath).draft(step: engine.steps)
      let help = { @Sendable [copy] in copy.help(in: draft) { outcome.mayEnd.load(ordering: .relaxed) } }
      // Where the system gives no thread, the others write it.
      pending = Thread(stackBytes: Self.stackBytes, help).map { ($0, outcome) }
      return
    }
    let (manifest, needed) = (engine.placed(manifest), engine.stateBytes)
    let write = { @Sendable [copy, limit] in
      do throws(Failure) {
        try retryingWhereTakenAway { (attempt) throws(Failure) in
          try CheckpointStore(storePath).save(manifest, keeping: limit, needing: needed) { (folder) throws(Failure) in
            try copy.write(model, into: folder, alone: attempt > 0)
          }
        }
      } catch {
        outcome.failure.withLock { $0 = error }
      }
      // Also where there was no folder to write into.
      copy.close()
    }
    let thread = Thread(stackBytes: Self.stackBytes, write)
    // Where the system gives no thread, the training waits. All ranks hear of a failure in `finish`.
    if thread == nil { write() }
    pending = (thread, outcome)
  }

  /// Waits until the last one is written. Called by all ranks, on all of which it throws what rank 0 met.
  public func finish(_ communicator: any Communicator) throws(Failure) {
    try communicator.agree { () throws(Failure) in
      guard let (thread, outcome) = pending else { return }
      thread?.join()
      pending = nil
      try outcome.check()
    }
  }
}

/// Saves, up to three times where somebody takes the folder away meanwhile: what removes it may not be done at once.
///
/// - Parameter save: gets the number of the try, from 0.
@discardableResult
func retryingWhereTakenAway<Result>(_ save: (_ attempt: Int) throws(Failure) -> Result) throws(Failure) -> Result {
  let (attempts, napMicroseconds) = (3, UInt32(100_000))
  var attempt = 0
  while true {
    do throws(Failure) {
      return try save(attempt)
    } catch {
      attempt += 1
      guard error.cause == .folderTakenAway, attempt < attempts else { throw error }
      usleep(napMicroseconds)
    }
  }
}
