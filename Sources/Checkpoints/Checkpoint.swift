import System

/// A checkpoint's folder whose manifest was read.
public struct Checkpoint: Sendable {
  public let path: String
  public let manifest: CheckpointManifest

  /// Reads the manifest, and looks whether its files are there in their sizes.
  ///
  /// - Throws: `.missingInput` where `path` is no checkpoint, `.badData` with file, field and values where it is damaged, or
  ///   is called as the checkpoint of another step; with the cause `.checkpointOutOfReach`, `.permission` or `.ioError` where
  ///   it cannot be read, and `.badData` where another version of the program has written it.
  public init(_ path: String) throws(Failure) {
    let file = "\(path)/\(CheckpointManifest.fileName)"
    let kind = try Reach.kind(of: path)
    guard kind == .folder else {
      throw Failure(
        .missingInput, at: path,
        kind == .nothing ? "there is no such folder" : "is no folder, expected a checkpoint's",
        hint: "./launch ckpt list DIR shows the checkpoints of a run")
    }
    guard try Reach.kind(of: file, follows: false) == .file else {
      throw Failure(
        .missingInput, at: path, "is no checkpoint: it has no file \(CheckpointManifest.fileName)",
        hint: "./launch ckpt list DIR shows the checkpoints of a run")
    }
    manifest = try Self.readManifest(file)
    self.path = path
    try checkName()
    for file in manifest.files {
      let place = "\(path)/\(file.name)"
      guard try Reach.kind(of: place, follows: false) == .file else {
        throw Failure(
          .badData, at: place, "is missing or no regular file, expected \(file.bytes) bytes", hint: Self.hint)
      }
      _ = try open(file)
    }
  }

  private static func readManifest(_ file: String) throws(Failure) -> CheckpointManifest {
    _ = try Reach.input(file)
    do throws(Failure) {
      return try CheckpointManifest(readBytes(file, limitBytes: CheckpointManifest.limitBytes), path: file)
    } catch {
      throw Reach.named(error)
    }
  }

  /// Refuses a folder that is called as the checkpoint of another step. Any other name may be given to a copy.
  private func checkName() throws(Failure) {
    let name = path.split(separator: "/").last.map { String($0) } ?? ""
    guard let step = CheckpointStore.step(ofName: name), step != manifest.step else { return }
    let right = CheckpointStore.name(step: manifest.step)
    throw Failure(
      .badData, at: "\(path)/\(CheckpointManifest.fileName)",
      "says step \(manifest.step), expected \(step), for the folder is called \(name)",
      hint: "if it was renamed, its name was \(right); else take another checkpoint")
  }

  /// Opens a file of the manifest, which has the size that is said there.
  private func open(_ file: CheckpointManifest.File) throws(Failure) -> InputFile {
    let input = try Reach.input("\(path)/\(file.name)")
    guard input.byteCount == file.bytes else {
      throw Failure(
        .badData, at: input.path, "has \(input.byteCount) bytes, expected \(file.bytes)", hint: Self.hint)
    }
    return input
  }

  private static let hint = "the checkpoint is damaged; take an earlier one"

  /// Reads all files and compares them with what the manifest says.
  ///
  /// - Throws: `.badData` with the file and both digests; with the cause `.checkpointOutOfReach` where a file cannot be read.
  public func verify() throws(Failure) {
    for file in manifest.files {
      let input = try open(file)
      let pairs = zip(try Self.digests(of: input), file.sha256)
      guard let (piece, (found, expected)) = pairs.enumerated().first(where: { $1.0 != $1.1 }) else { continue }
      let range = FilePieces.range(piece, ofBytes: file.bytes)
      let part = file.sha256.count == 1 ? "has" : "bytes \(range.lowerBound) to \(range.upperBound - 1) have"
      throw Failure(.badData, at: input.path, "\(part) the SHA-256 \(found), expected \(expected)", hint: Self.hint)
    }
  }

  private static func digests(of input: InputFile) throws(Failure) -> [String] {
    do throws(Failure) { return try FilePieces.digests(of: input) } catch { throw Reach.named(error) }
  }

  /// The path of a file of the checkpoint.
  ///
  /// - Throws: `.badData` where the manifest does not list it, so that nothing vouches for it.
  public func file(_ name: String) throws(Failure) -> String {
    guard manifest.files.contains(where: { $0.name == name }) else {
      throw Failure(
        .badData, at: "\(path)/\(CheckpointManifest.fileName)", "lists no file \(name)",
        hint: "the checkpoint is of another kind of program")
    }
    return "\(path)/\(name)"
  }

  /// Bytes of all its files.
  public var byteCount: Int { manifest.files.reduce(0) { $0 + $1.bytes } }
}
