import Glibc
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

  /// All folders that are named like checkpoints, oldest step first; none where the folder cannot be read. Their files'
  /// content is not looked at.
  public var entries: [Entry] { (try? readEntries()) ?? [] }

  /// All folders that are named like checkpoints, oldest step first; none where there is no such folder. Their files'
  /// content is not looked at.
  ///
  /// - Throws: `.permission` or `.ioError` where the folder is there and cannot be read.
  public func readEntries() throws(Failure) -> [Entry] {
    try Reach.names(in: path).compactMap { entry(named: $0) }.sorted { $0.step < $1.step }
  }

  /// The checkpoint's folder of this name; nil where a checkpoint is not called so.
  package func entry(named name: String) -> Entry? {
    guard let step = Self.step(ofName: name) else { return nil }
    do throws(Failure) {
      return Entry(name: name, step: step, checkpoint: .success(try Checkpoint("\(path)/\(name)")))
    } catch {
      return Entry(name: name, step: step, checkpoint: .failure(error))
    }
  }

  /// The newest complete checkpoint, all of whose files were read and found good; nil where there is none.
  ///
  /// - Parameter skipped: told of every newer one that is damaged.
  /// - Throws: where the folder, or a newer one, cannot be read or was written by another version of the program: what it
  ///   holds may be good. The cause is `.checkpointOutOfReach`.
  public func latest(skipped: (Failure) throws(Failure) -> Void) throws(Failure) -> Checkpoint? {
    for entry in try readEntries().reversed() {
      do throws(Failure) {
        let checkpoint = try entry.checkpoint.get()
        try checkpoint.verify()
        return checkpoint
      } catch {
        if error.cause == .checkpointOutOfReach { throw error }
        try skipped(error)
      }
    }
    return nil
  }

  // MARK: Writing

  /// Saves a checkpoint, and removes what is too many. Old ones that cannot be removed stay: the checkpoint is good, and the
  /// next save tries again.
  ///
  /// - Parameters:
  ///   - manifest: all but its files, which are found and measured here.
  ///   - limit: complete checkpoints that stay, this one included; nil for all.
  ///   - needed: about how many bytes it takes, for the message where there is no room; nil where nobody knows.
  ///   - fill: writes the files into the folder that it gets, each durable, and gives those whose pieces' digests it knows;
  ///     the others are read again. A file whose digests are missing must be there as well.
  /// - Returns: the checkpoint's folder.
  /// - Throws: `.ioError` or `.cannotCreate`; the folder is as it was before then. The cause is `.folderTakenAway` where
  ///   another try may succeed. `.cannotCreate` also where something else than a folder stands in the folder's place.
  @discardableResult
  public func save(
    _ manifest: CheckpointManifest, keeping limit: Int? = nil, needing needed: Int? = nil,
    _ fill: (_ folder: String) throws(Failure) -> [CheckpointManifest.File]
  ) throws(Failure) -> String {
    let name = Self.name(step: manifest.step)
    let draft = draft(step: manifest.step)
    try refuseOtherThanFolder()
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
    if let limit {
      do throws(Failure) { try prune(keeping: limit, sparing: name) } catch {
        if isInterrupted { throw error }
      }
    }
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

  static let draftEnd = ".unfinished"
  static let graveEnd = ".removed"

  private func makeStore() throws(Failure) {
    try refuseOtherThanFolder()
    guard !isDirectory(path) else { return }
    try makeDirectory(parent(of: path))
    guard mkdir(path, 0o700) == 0 || errno == EEXIST && isDirectory(path) else {
      throw Failure(outputStatus(), at: path, "folder cannot be made: \(lastSystemError())")
    }
    try syncDirectory(parent(of: path))
  }

  /// What stands in the folder's place and is none is the user's, and stays. A link to a folder is one.
  private func refuseOtherThanFolder() throws(Failure) {
    guard !isDirectory(path), let kind = try? Reach.kind(of: path, follows: false) else { return }
    let what: String
    switch kind {
    case .nothing, .folder: return
    case .file: what = "a file"
    case .link: what = "a link that leads to no folder within reach"
    case .other: what = "no folder"
    }
    throw Failure(
      .cannotCreate, at: path, "is \(what), expected a folder for checkpoints, or nothing",
      hint: "move it away, or name another output folder")
  }

  var isInterrupted = false

  func proceed(_ operation: String) throws(Failure) {
    guard let mayGoOn, !mayGoOn(operation) else { return }
    isInterrupted = true
    throw Failure(.internalError, "stopped before \(operation), as the test asked")
  }
}
