import Glibc

/// The folder of this user's in which the next content of an output folder is put together, and which says that a run
/// is at work on it.
///
/// It holds `owner`, a file that the run keeps locked and that names it; `new`, the content; and, while a content is
/// exchanged file by file, `old` or `replaced`. The lock ends with the process however that ends, so what a dead run left
/// never stands in the way.
final class StagingFolder {
  static let ownerName = "owner"
  static let newName = "new"
  /// Where files of the output folder go that are about to be replaced; all may go back.
  static let oldName = "old"
  /// The same, once all are there: from then on the new files belong into the output folder.
  static let replacedName = "replaced"

  let path: String
  let folder: OpenFolder
  private let lock: Int32
  private let cleanups: [Int?]
  private var isRemoved = false

  /// Makes the folder, or takes over one that a dead run left, and names this run in it.
  ///
  /// - Parameter output: the output folder, for messages.
  /// - Throws: `.cannotCreate` where another run is at work, or the folder is somebody else's.
  init(_ path: String, output: String) throws(Failure) {
    self.path = path
    // A run that ends removes the folder; then it is made again.
    for _ in 0..<100 {
      let isNew = mkdir(path, 0o700) == 0
      guard isNew || errno == EEXIST else {
        throw Failure(outputStatus(), at: output, "cannot be prepared in \(parent(of: path)): \(lastSystemError())")
      }
      try Self.checkOwner(path)
      guard let folder = OpenFolder(path),
        let lock = try Self.lock("\(path)/\(Self.ownerName)", output: output)
      else { continue }
      self.folder = folder
      self.lock = lock
      cleanups = [path, "\(path)/\(Self.ownerName)"].map(SignalCleanup.add)
      try nameOwner(output: output)
      return
    }
    throw Failure(.cannotCreate, at: output, "other runs take \(path) away all the time")
  }

  deinit { remove() }

  /// Removes the folder, which ends the run's hold on the output folder.
  func remove() {
    guard !isRemoved else { return }
    isRemoved = true
    folder.removeContents(but: Self.ownerName)
    unlink("\(path)/\(Self.ownerName)")
    rmdir(path)
    for cleanup in cleanups { SignalCleanup.forget(cleanup) }
    close(lock)
  }

  /// In a folder that everybody may write to, /tmp for instance, somebody else may have made it.
  private static func checkOwner(_ path: String) throws(Failure) {
    var info = stat()
    guard lstat(path, &info) == 0 else { return }  // It is gone again.
    guard info.st_mode & S_IFMT == S_IFDIR, info.st_uid == geteuid(), info.st_mode & 0o022 == 0 else {
      throw Failure(
        .cannotCreate, at: path, "is no folder of this user's alone; results are put together there",
        hint: "remove it, or name another output folder")
    }
  }

  /// Opens and locks the file `path`; nil where it was removed meanwhile.
  private static func lock(_ path: String, output: String) throws(Failure) -> Int32? {
    let descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw Failure(outputStatus(), at: output, "cannot be prepared: \(path): \(lastSystemError())")
    }
    // Where a file system has no locks there is no protection from other runs, but the result is saved.
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK {
      defer { close(descriptor) }
      throw isBusy(descriptor, output: output)
    }
    var (own, named) = (stat(), stat())
    guard fstat(descriptor, &own) == 0, lstat(path, &named) == 0, own.st_ino == named.st_ino else {
      close(descriptor)
      return nil
    }
    return descriptor
  }

  /// Refuses to work beside a run that is at work in the folder `path`, which is not touched.
  static func refuseOthers(in path: String, output: String) throws(Failure) {
    let descriptor = open("\(path)/\(ownerName)", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    if flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK { throw isBusy(descriptor, output: output) }
  }

  private static func isBusy(_ descriptor: Int32, output: String) -> Failure {
    var text = [UInt8](repeating: 0, count: 400)
    let count = pread(descriptor, &text, text.count, 0)
    let owner = String(decoding: text.prefix(max(0, count)).prefix { $0 != 0x0A }, as: UTF8.self)
    return Failure(
      .cannotCreate, at: output, "another run saves here: \(owner.isEmpty ? "it has just begun" : owner)",
      hint: "wait for its end, or name another output folder")
  }

  private func nameOwner(output: String) throws(Failure) {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    let host = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let since = presentTime("%Y-%m-%d %H:%M:%S UTC", isUniversal: true)
    ftruncate(lock, 0)
    try writeAll(Array("process \(getpid()) on host \(host), since \(since)\n".utf8), to: lock, at: output)
  }
}
