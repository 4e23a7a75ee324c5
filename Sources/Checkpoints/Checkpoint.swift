import System

/// A checkpoint's folder whose manifest was read.
public struct Checkpoint: Sendable {
  public let path: String
  public let manifest: CheckpointManifest

  /// Reads the manifest, and looks whether its files are there in their sizes.
  ///
  /// - Throws: `.missingInput` where `path` is no checkpoint, `.badData` with file, field and values where it is damaged.
  public init(_ path: String) throws(Failure) {
    let file = "\(path)/\(CheckpointManifest.fileName)"
    guard isDirectory(path) else {
      throw Failure(
        .missingInput, at: path, exists(path) ? "is no folder, expected a checkpoint's" : "there is no such folder",
        hint: "./launch ckpt list DIR shows the checkpoints of a run")
    }
    guard PrivateFolder.hasFile(file) else {
      throw Failure(
        .missingInput, at: path, "is no checkpoint: it has no file \(CheckpointManifest.fileName)",
        hint: "./launch ckpt list DIR shows the checkpoints of a run")
    }
    manifest = try CheckpointManifest(readBytes(file, limitBytes: CheckpointManifest.limitBytes), path: file)
    self.path = path
    for file in manifest.files {
      let place = "\(path)/\(file.name)"
      guard PrivateFolder.hasFile(place) else {
        throw Failure(
          .badData, at: place, "is missing or no regular file, expected \(file.bytes) bytes", hint: Self.hint)
      }
      _ = try open(file)
    }
  }

  /// Opens a file of the manifest, which has the size that is said there.
  private func open(_ file: CheckpointManifest.File) throws(Failure) -> InputFile {
    let input = try InputFile("\(path)/\(file.name)")
    guard input.byteCount == file.bytes else {
      throw Failure(
        .badData, at: input.path, "has \(input.byteCount) bytes, expected \(file.bytes)", hint: Self.hint)
    }
    return input
  }

  private static let hint = "the checkpoint is damaged; take an earlier one"

  /// Reads all files and compares them with what the manifest says.
  ///
  /// - Throws: `.badData` with the file and both digests.
  public func verify() throws(Failure) {
    for file in manifest.files {
      let input = try open(file)
      let pairs = zip(try FilePieces.digests(of: input), file.sha256)
      guard let (piece, (found, expected)) = pairs.enumerated().first(where: { $1.0 != $1.1 }) else { continue }
      let range = FilePieces.range(piece, ofBytes: file.bytes)
      let part = file.sha256.count == 1 ? "has" : "bytes \(range.lowerBound) to \(range.upperBound - 1) have"
      throw Failure(.badData, at: input.path, "\(part) the SHA-256 \(found), expected \(expected)", hint: Self.hint)
    }
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
