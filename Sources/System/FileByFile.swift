import Glibc

/// The exchange of an output folder's content where the file system cannot do it in one step.
///
/// Old files move to `old` in the staging folder; it is renamed to `replaced`; new files move in. Whoever finds `old`
/// takes everything back, whoever finds `replaced` moves the rest in.
enum FileByFile {
  /// Leaves first and comes last: without it a folder is no model.
  private static let keyFile = Array("config.json".utf8)

  /// - Parameter kept: a name that stays where it is.
  static func exchange(_ staging: StagingFolder, with path: String, keeping kept: String? = nil) throws(Failure) {
    let oldPath = "\(staging.path)/\(StagingFolder.oldName)"
    guard mkdir(oldPath, 0o700) == 0, let old = OpenFolder(oldPath), let target = OpenFolder(path) else {
      throw Failure(outputStatus(), at: path, "cannot be replaced: \(lastSystemError())")
    }
    do throws(Failure) {
      let names = target.names.filter { name in
        let text = String(decoding: name, as: UTF8.self)
        return "\(path)/\(text)" != staging.path && text != kept
      }
      try move(keyFirst(names), from: target, to: old, path)
      try sync(old, target, path)
      guard rename(oldPath, "\(staging.path)/\(StagingFolder.replacedName)") == 0 else { throw failure(path) }
      try sync(staging.folder, nil, path)
    } catch {
      try recover(staging, in: path, keeping: kept)
      throw error
    }
    try complete(staging, in: path)
  }

  /// Takes an exchange back that was interrupted, or completes it, and removes what else a dead run left.
  static func recover(_ staging: StagingFolder, in path: String, keeping kept: String? = nil) throws(Failure) {
    try keep(kept, staging, in: path)
    if staging.folder.has(StagingFolder.replacedName) {
      try complete(staging, in: path)
    } else if let old = OpenFolder("\(staging.path)/\(StagingFolder.oldName)"), let target = OpenFolder(path) {
      try move(keyFirst(old.names).reversed(), from: old, to: target, path)
      try sync(target, nil, path)
    }
    staging.folder.removeContents(but: StagingFolder.ownerName)
  }

  /// Takes what is called `kept` back from the old content, after that and the new one have changed places.
  static func keep(_ kept: String?, _ staging: StagingFolder, in path: String) throws(Failure) {
    guard let kept, let old = OpenFolder("\(staging.path)/\(StagingFolder.newName)"), old.has(kept),
      let target = OpenFolder(path), !target.has(kept)
    else { return }
    guard old.move(Array(kept.utf8), to: target) else { throw failure(path) }
    try sync(target, nil, path)
  }

  /// Moves in what is still to come.
  private static func complete(_ staging: StagingFolder, in path: String) throws(Failure) {
    guard let new = OpenFolder("\(staging.path)/\(StagingFolder.newName)"), let target = OpenFolder(path) else {
      return
    }
    try move(keyFirst(new.names).reversed(), from: new, to: target, path)
    try sync(target, nil, path)
  }

  private static func keyFirst(_ names: [[UInt8]]) -> [[UInt8]] {
    names.filter { $0 == keyFile } + names.filter { $0 != keyFile }
  }

  private static func move(
    _ names: [[UInt8]], from source: OpenFolder, to target: OpenFolder, _ path: String
  ) throws(Failure) {
    for name in names where !source.move(name, to: target) { throw failure(path) }
  }

  private static func sync(_ first: OpenFolder, _ second: OpenFolder?, _ path: String) throws(Failure) {
    for folder in [first, second].compactMap({ $0 }) where fsync(folder.descriptor) != 0 {
      throw Failure(.ioError, at: path, "fsync failed: \(lastSystemError())")
    }
  }

  private static func failure(_ path: String) -> Failure {
    Failure(outputStatus(), at: path, "cannot be replaced: \(lastSystemError())")
  }
}
