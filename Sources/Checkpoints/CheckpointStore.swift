import System

extension Failure.Cause {
  /// The folder of a checkpoint that is put together, or a file of it, is not there: somebody may have removed it, and a new
  /// try makes it again.
  public static let folderTakenAway = Failure.Cause("a checkpoint's folder was taken away")
}

/// The checkpoints of a run, side by side in one folder: `step-000120` and so on.
///
/// A checkpoint appears under its name complete and durable, or not at all: it is put together in a folder beside it, each
/// file is flushed, the manifest comes last, the folder is flushed, renamed, and then the folder above is flushed. Only
/// after that old ones are removed. One job at a time may write: for `finetune` the output folder sees to that.
public final class CheckpointStore {
  public let path: String
  /// Called before each operation on files, with a word for it; where it gives false, all stops on the spot, with nothing
  /// tidied, as if the process were killed. For tests.
  package var mayGoOn: ((String) -> Bool)?

  /// - Parameter path: the folder; it is made when something is saved.
  public init(_ path: String) { self.path = path }

  /// A checkpoint, or what is wrong with a folder that is named like one.
  public struct Entry: Sendable {
    public var name: String
    public var step: Int
    public var checkpoint: Result<Checkpoint, Failure>
  }

  /// The name of a checkpoint's folder.
  public static func name(step: Int) -> String {
    let digits = "\(step)"
    return "step-" + String(repeating: "0", count: max(0, 6 - digits.utf8.count)) + digits
  }

  /// The step of a checkpoint's folder; nil for other names.
  public static func step(ofName name: String) -> Int? {
    guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0, Self.name(step: step) == name else {
      return nil
    }
    return step
  }

  /// All folders that are named like checkpoints, oldest step first. Their files' content is not looked at.
  public var entries: [Entry] {
    PrivateFolder.names(in: path).compactMap { name in
      guard let step = Self.step(ofName: name) else { return nil }
      do throws(Failure) {
        return Entry(name: name, step: step, checkpoint: .success(try Checkpoint("\(path)/\(name)")))
      } catch {
        return Entry(name: name, step: step, checkpoint: .failure(error))
      }
    }.sorted { $0.step < $1.step }
  }

  /// The newest complete checkpoint, all of whose files were read and found good; nil where there is none.
  ///
  /// - Parameter skipped: told of every newer one that is damaged.
  public func latest(skipped: (Failure) throws(Failure) -> Void) throws(Failure) -> Checkpoint? {
    for entry in entries.reversed() {
      do throws(Failure) {
        let checkpoint = try entry.checkpoint.get()
        try checkpoint.verify()
        return checkpoint
      } catch {
        try skipped(error)
      }
    }
    return nil
  }

  // MARK: Writing

  /// Saves a checkpoint, and removes what is too many.
  ///
  /// - Parameters:
  ///   - manifest: all but its files, which are found and measured here.
  ///   - limit: complete checkpoints that stay, this one included; nil for all.
  ///   - needed: about how many bytes it takes, for the message where there is no room; nil where nobody knows.
  ///   - fill: writes the files into the folder that it gets, each durable, and gives those whose pieces' digests it knows;
  ///     the others are read again. A file whose digests are missing must be there as well.
  /// - Returns: the checkpoint's folder.
  /// - Throws: `.ioError` or `.cannotCreate`; the folder is as it was before then. The cause is `.folderTakenAway` where
  ///   another try may succeed.
  @discardableResult
  public func save(
    _ manifest: CheckpointManifest, keeping limit: Int? = nil, needing needed: Int? = nil,
    _ fill: (_ folder: String) throws(Failure) -> [CheckpointManifest.File]
  ) throws(Failure) -> String {
    let name = Self.name(step: manifest.step)
    let draft = draft(step: manifest.step)
    do throws(Failure) {
      try proceed("make")
      try makeStore()
      try PrivateFolder.make(draft)
      try proceed("fill")
      let known = try fill(draft)
      var manifest = manifest
      manifest.files = try files(in: draft, known)
      try proceed("manifest")
      try writeAtomically(manifest.bytes, to: "\(draft)/\(CheckpointManifest.fileName)")
      try PrivateFolder.restrict(file: "\(draft)/\(CheckpointManifest.fileName)")
      try proceed("flush")
      try syncDirectory(draft)
      try proceed("rename")
      try PrivateFolder.replace("\(path)/\(name)", by: draft)
      try proceed("flush above")
      try syncDirectory(path)
    } catch {
      var failure = error
      if [.cannotCreate, .missingInput].contains(failure.status) || !isDirectory(draft) {
        failure.status = failure.status == .missingInput ? .cannotCreate : failure.status
        failure.cause = .folderTakenAway
      }
      if !isInterrupted { PrivateFolder.remove(draft) }
      if let place = failure.place, place.hasPrefix(draft) {
        failure.place = "\(path)/\(name)" + place.dropFirst(draft.count)
      }
      // What it had taken up itself is free again.
      if [.ioError, .cannotCreate].contains(failure.status), let free = FreeRoom(at: path) {
        failure.message += "; " + (needed.map { "a checkpoint needs about \(grouped($0)) bytes, " } ?? "") + free.text
      }
      throw failure
    }
    if let limit { try prune(keeping: limit, sparing: name) }
    return "\(path)/\(name)"
  }

  /// Writes a file beside the checkpoints, which only the user may read.
  ///
  /// - Returns: its path.
  public func write(_ bytes: [UInt8], to name: String) throws(Failure) -> String {
    try makeStore()
    try writeAtomically(bytes, to: "\(path)/\(name)")
    try PrivateFolder.restrict(file: "\(path)/\(name)")
    return "\(path)/\(name)"
  }

  /// The files of a checkpoint that is put together, each of which only the user may read from then on.
  private func files(
    in draft: String, _ known: [CheckpointManifest.File]
  ) throws(Failure) -> [CheckpointManifest.File] {
    let names = PrivateFolder.names(in: draft)
    if let lost = known.first(where: { !names.contains($0.name) }) {
      throw Failure(.cannotCreate, at: "\(draft)/\(lost.name)", "was removed while the checkpoint was written")
    }
    return try names.map { (name) throws(Failure) in
      precondition(CheckpointManifest.isFileName(name), "a checkpoint's file is called \(name)")
      try PrivateFolder.restrict(file: "\(draft)/\(name)")
      if let file = known.first(where: { $0.name == name && !$0.sha256.isEmpty }) { return file }
      return try CheckpointManifest.File(name: name, at: "\(draft)/\(name)")
    }
  }

  /// The folder in which the checkpoint of a step is put together.
  package func draft(step: Int) -> String { "\(path)/.\(Self.name(step: step))\(Self.draftEnd)" }

  /// Removes the oldest checkpoints, so that no more than `limit` complete ones stay, and damaged ones that are older than
  /// those.
  ///
  /// - Parameter spared: a name that stays in any case.
  /// - Returns: the names of those that were removed.
  @discardableResult
  public func prune(keeping limit: Int, sparing spared: String? = nil) throws(Failure) -> [String] {
    let entries = entries
    let complete = entries.filter { entry in
      if case .success = entry.checkpoint { entry.name != spared } else { false }
    }
    let kept = Set(complete.suffix(max(0, limit - (spared == nil ? 0 : 1))).map(\.name))
    let oldest = entries.first { kept.contains($0.name) }?.step ?? .max
    var removed: [String] = []
    for entry in entries where entry.step < oldest && entry.name != spared {
      try remove(entry.name)
      removed.append(entry.name)
    }
    return removed
  }

  /// Removes the checkpoint called `name`: first its name, so that half a checkpoint never has it.
  private func remove(_ name: String) throws(Failure) {
    let grave = "\(path)/.\(name)\(Self.graveEnd)"
    PrivateFolder.remove(grave)
    try proceed("rename old")
    try PrivateFolder.rename("\(path)/\(name)", to: grave)
    try proceed("remove old")
    guard PrivateFolder.remove(grave) else {
      throw Failure(.ioError, at: "\(path)/\(name)", "cannot be removed: \(lastSystemError())")
    }
  }

  /// Removes what dead runs left: checkpoints that were not finished, and old ones that were not quite removed.
  public func removeRemains() {
    for name in PrivateFolder.names(in: path) where name.hasPrefix(".step-") {
      let ending = [Self.draftEnd, Self.graveEnd].first { name.hasSuffix($0) }
      guard let ending, Self.step(ofName: String(name.dropFirst().dropLast(ending.count))) != nil else { continue }
      PrivateFolder.remove("\(path)/\(name)")
    }
  }

  /// Removes all checkpoints.
  public func removeAll() throws(Failure) {
    removeRemains()
    for entry in entries { try remove(entry.name) }
  }

  private static let draftEnd = ".unfinished"
  private static let graveEnd = ".removed"

  private func makeStore() throws(Failure) {
    guard !isDirectory(path) else { return }
    try makeDirectory(parent(of: path))
    try PrivateFolder.make(path)
    try syncDirectory(parent(of: path))
  }

  private var isInterrupted = false

  private func proceed(_ operation: String) throws(Failure) {
    guard let mayGoOn, !mayGoOn(operation) else { return }
    isInterrupted = true
    throw Failure(.internalError, "stopped before \(operation), as the test asked")
  }
}
