import CFileSystem
import Glibc

/// A folder whose content is replaced as a whole: whatever happens, it holds the old content or the new.
///
/// The new content is put together in a folder beside it, made durable, and exchanged with the old one in one step of the
/// file system (`RENAME_EXCHANGE`). Where that cannot be, because the folder is a mount point, its parent may not be
/// written to or the file system does not know it (NFS), files are moved one by one: all old ones leave before the first
/// new one comes, and `config.json`, without which a folder is no model, leaves first and comes last. So a mixture is
/// never there; what `kill -9` interrupts is taken back or completed by the next run.
///
/// Other runs are refused as long as it exists.
public final class OutputFolder {
  /// Throws where a folder must not be replaced, given its path and the names in it.
  public typealias Check = (_ folder: String, _ names: [String]) throws(Failure) -> Void

  /// The folder, links resolved.
  public let path: String
  private let staging: StagingFolder
  /// Whether the staging folder is beside the output folder, not in it.
  private let isBeside: Bool
  private let wasMade: Bool
  private let mayReplace: Check
  /// A name in the folder that stays when all else is replaced; nil for none.
  private let kept: String?
  /// The staging folder's name where it has to be in the output folder.
  private static let insideName = ".lockstep"

  /// Prepares to replace the folder `path`; nothing in it changes yet.
  ///
  /// - Parameters:
  ///   - kept: a name in the folder that stays, with all that is in it.
  ///   - home: the user's home folder, which is never replaced; nil where there is none.
  public init(_ path: String, keeping kept: String? = nil, home: String?, mayReplace: @escaping Check) throws(Failure) {
    self.kept = kept
    let target = try resolvedFolder(path)
    try refuseFolderInUse(target, named: path, home: home)
    let beside = "\(parent(of: target))/.\(lastComponent(of: target)).lockstep"
    let inside = "\(target)/\(Self.insideName)"
    try StagingFolder.refuseOthers(in: beside, output: path)
    if exists(inside) {
      // A dead run that could not write beside the folder has left it.
      try FileByFile.recover(StagingFolder(inside, output: path), in: target, keeping: kept)
    }
    self.path = target
    self.mayReplace = mayReplace
    if let staging = try Self.stagingBeside(beside, of: target, named: path) {
      (self.staging, isBeside, wasMade) = (staging, true, false)
    } else {
      wasMade = mkdir(target, 0o777) == 0
      guard wasMade || errno == EEXIST else {
        throw Failure(outputStatus(), at: path, "folder cannot be made: \(lastSystemError())")
      }
      staging = try StagingFolder(inside, output: path)
      isBeside = false
    }
    try FileByFile.recover(staging, in: target, keeping: kept)
    if isDirectory(target) { try mayReplace(target, names) }
  }

  deinit {
    staging.remove()
    // Only a folder that is empty again.
    if wasMade { rmdir(path) }
  }

  /// The names in the folder.
  private var names: [String] {
    System.names(in: path).sorted().filter { $0 != Self.insideName }
  }

  /// Makes the staging folder beside the output folder; nil where files cannot be moved from one to the other.
  private static func stagingBeside(
    _ path: String, of target: String, named name: String
  ) throws(Failure) -> StagingFolder? {
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else { return nil }
    let staging = try StagingFolder(path, output: name)
    guard isDirectory(target) else { return staging }
    guard let folder = OpenFolder(target), faccessat(AT_FDCWD, target, W_OK | X_OK, AT_EACCESS) == 0 else {
      throw Failure(.cannotCreate, at: name, "cannot be read and written: \(lastSystemError())")
    }
    // Another file system is mounted there, or this one once more. Linux looks at that before it misses the file.
    if !staging.folder.isOnDevice(of: folder)
      || !staging.folder.move(Array("nothing".utf8), to: folder) && errno == EXDEV
    {
      return nil
    }
    return staging
  }

  /// Has `fill` write the new content, and puts it in place of the old.
  ///
  /// - Parameters:
  ///   - files: the names of what `fill` writes into the folder that it gets: a signal removes them.
  /// - Returns: the folder that holds the new content. It is another one where files came into the output folder
  ///   meanwhile that must not be replaced.
  public func replace(
    files: [String], _ fill: (_ folder: String) throws(Failure) -> Void
  ) throws(Failure) -> String {
    let new = "\(staging.path)/\(StagingFolder.newName)"
    guard mkdir(new, 0o777) == 0 else {
      throw Failure(outputStatus(), at: path, "cannot be prepared: \(lastSystemError())")
    }
    var cleanups = ([new] + files.map { "\(new)/\($0)" }).map(SignalCleanup.add)
    defer { for cleanup in cleanups { SignalCleanup.forget(cleanup) } }
    do throws(Failure) {
      try fill(new)
      try syncDirectory(new)
    } catch {
      var failure = error
      // The user's name for it; the folder where it was put together is gone.
      if let place = failure.place, place.hasPrefix(new) { failure.place = path + place.dropFirst(new.count) }
      throw failure
    }
    if let refuge = try refuge(new) { return refuge }
    if !exists(path) && rename(new, path) == 0 {
      try syncDirectory(parent(of: path))
      return path
    }
    let isExchanged = isBeside && inheritOwner(new) && lockstep_exchange_names(new, path) == 0
    if isExchanged {
      try syncDirectory(parent(of: path))
      try FileByFile.keep(kept, staging, in: path)
    } else {
      // From here on the next run needs what a signal leaves.
      for cleanup in cleanups { SignalCleanup.forget(cleanup) }
      cleanups = []
      try FileByFile.exchange(staging, with: path, keeping: kept)
    }
    guard staging.folder.removeContents(but: StagingFolder.ownerName) else {
      throw Failure(
        .ioError, at: path, "is saved, but what it held before cannot be removed from \(staging.path)")
    }
    return path
  }

  /// Saves `new` under another name where files came into the output folder that must not be replaced.
  private func refuge(_ new: String) throws(Failure) -> String? {
    guard isDirectory(path) else { return nil }
    do throws(Failure) {
      try mayReplace(path, names)
      return nil
    } catch {
      let refuge = isBeside ? "\(path)-\(getpid())" : "\(path)/saved-\(getpid())"
      guard rename(new, refuge) == 0 else { throw error }
      try syncDirectory(parent(of: refuge))
      return refuge
    }
  }

  /// Gives `new` the owner and the permissions of the folder that it replaces; false where that is not permitted.
  private func inheritOwner(_ new: String) -> Bool {
    var (old, own) = (stat(), stat())
    guard stat(path, &old) == 0, stat(new, &own) == 0 else { return false }
    if (old.st_uid, old.st_gid) != (own.st_uid, own.st_gid) && chown(new, old.st_uid, old.st_gid) != 0 { return false }
    return chmod(new, old.st_mode & 0o7777) == 0
  }
}

/// The real path of an output folder that need not exist; its parents are made.
private func resolvedFolder(_ path: String) throws(Failure) -> String {
  func real() throws(Failure) -> String? {
    guard exists(path) else { return nil }
    guard isDirectory(path) else {
      throw Failure(.cannotCreate, at: path, "is a file, expected a folder or nothing")
    }
    return realPath(path)
  }
  if let found = try real() { return found }
  var trimmed = path
  while trimmed.utf8.count > 1 && trimmed.utf8.last == UInt8(ascii: "/") { trimmed.removeLast() }
  guard !trimmed.isEmpty else { throw Failure(.usage, "the name of the output folder is empty") }
  var info = stat()
  guard lstat(trimmed, &info) != 0 else {
    throw Failure(.cannotCreate, at: path, "is a link to \"\(linkTarget(trimmed))\", which cannot be reached")
  }
  try makeDirectory(parent(of: trimmed))
  // `new/..` exists now.
  if let found = try real() { return found }
  let above = realPath(parent(of: trimmed))
  return above == "/" ? "/\(lastComponent(of: trimmed))" : "\(above)/\(lastComponent(of: trimmed))"
}

private func linkTarget(_ path: String) -> String {
  var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
  let count = readlink(path, &bytes, bytes.count)
  return String(decoding: bytes.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Refuses to replace a folder in which the user stands or lives.
private func refuseFolderInUse(_ target: String, named name: String, home: String?) throws(Failure) {
  for (folder, what) in [(realPath("."), "the working folder"), (home.map(realPath), "the home folder")] {
    guard let folder, isInside(folder, target) else { continue }
    throw Failure(
      .cannotCreate, at: name, "\(folder == target ? "is" : "holds") \(what), but it would be replaced as a whole",
      hint: "name a folder in it")
  }
}

extension OutputFolder {
  /// Refuses where a run is at work on the folder `path`. Nothing is made, locked or changed.
  ///
  /// - Throws: `.cannotCreate`, which names the run.
  public static func refuseRuns(on path: String) throws(Failure) {
    let target = realPath(path)
    let beside = "\(parent(of: target))/.\(lastComponent(of: target)).lockstep"
    for staging in [beside, "\(target)/\(insideName)"] {
      try StagingFolder.refuseOthers(in: staging, output: path)
    }
  }
}
