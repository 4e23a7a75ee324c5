import Glibc

/// A file that appears under its name whole and durable, or not at all.
///
/// Written beside its destination under a fresh temporary name, then fsync, rename, fsync of the folder: without the
/// first fsync a power cut leaves an empty file under the final name, without the second the rename is lost.
/// A file that is never committed is removed when released, or by the signal that ends the process. What `kill -9` leaves
/// is removed by the next writer of the same path: as long as its owner lives, a temporary file is locked.
public final class AtomicFile {
  public let path: String
  private let temporaryPath: String
  private let descriptor: Int32
  private let cleanup: Int?
  private var isOpen = true

  public init(_ path: String) throws(Failure) {
    self.path = path
    removeRemains(of: path)
    while true {
      let temporary = "\(path).tmp-\(getpid())-\(UInt32.random(in: 0 ... .max))"
      let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
      guard file >= 0 else { throw Failure(outputStatus(), at: path, "cannot be written: \(lastSystemError())") }
      // Another writer may take it for remains before it is locked: then that one has the lock, or has removed it.
      let isTaken = flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK
      var info = stat()
      guard !isTaken, fstat(file, &info) == 0, info.st_nlink > 0 else {
        close(file)
        continue
      }
      temporaryPath = temporary
      descriptor = file
      cleanup = SignalCleanup.add(temporary)
      return
    }
  }

  deinit {
    guard isOpen else { return }
    unlink(temporaryPath)
    SignalCleanup.forget(cleanup)
    close(descriptor)
  }

  /// Appends `bytes`.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
    try writeAll(bytes, to: descriptor, at: path)
  }

  /// Appends `bytes`.
  public func write(_ bytes: [UInt8]) throws(Failure) { try writeAll(bytes, to: descriptor, at: path) }

  /// Makes the file durable and gives it its name, replacing what was there.
  public func commit() throws(Failure) {
    guard fsync(descriptor) == 0 else { throw Failure(.ioError, at: path, "fsync failed: \(lastSystemError())") }
    guard rename(temporaryPath, path) == 0 else {
      throw Failure(outputStatus(), at: path, "cannot be renamed into place: \(lastSystemError())")
    }
    isOpen = false
    SignalCleanup.forget(cleanup)
    close(descriptor)
    try syncDirectory(parent(of: path))
  }
}

/// Removes temporary files of `path` whose writers are gone: regular files of this user, named as `AtomicFile` names
/// them, that nobody has locked.
private func removeRemains(of path: String) {
  let folder = parent(of: path)
  let prefix = Array("\(lastComponent(of: path)).tmp-".utf8)
  for name in names(in: folder).map({ Array($0.utf8) }) where name.starts(with: prefix) {
    let numbers = name.dropFirst(prefix.count).split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    guard numbers.count == 2, numbers.allSatisfy({ !$0.isEmpty && $0.allSatisfy { (0x30...0x39).contains($0) } }) else {
      continue
    }
    let remains = "\(folder)/\(String(decoding: name, as: UTF8.self))"
    let descriptor = open(remains, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { continue }
    defer { close(descriptor) }
    var info = stat()
    let isOurs = fstat(descriptor, &info) == 0 && info.st_mode & S_IFMT == S_IFREG && info.st_uid == geteuid()
    if isOurs && flock(descriptor, LOCK_EX | LOCK_NB) == 0 { unlink(remains) }
  }
}

/// Writes `bytes` to `path`, whole and durable or not at all.
public func writeAtomically(_ bytes: [UInt8], to path: String) throws(Failure) {
  let file = try AtomicFile(path)
  try file.write(bytes)
  try file.commit()
}

/// Makes the names in the folder `path` durable.
public func syncDirectory(_ path: String) throws(Failure) {
  let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { throw Failure(.ioError, at: path, "cannot be opened: \(lastSystemError())") }
  defer { close(descriptor) }
  guard fsync(descriptor) == 0 else { throw Failure(.ioError, at: path, "fsync failed: \(lastSystemError())") }
}

/// Makes the folder `path` and its parents where they are missing.
public func makeDirectory(_ path: String) throws(Failure) {
  if isDirectory(path) { return }
  let above = parent(of: path)
  if above != path && !exists(above) { try makeDirectory(above) }
  guard mkdir(path, 0o755) == 0 || errno == EEXIST && isDirectory(path) else {
    throw Failure(outputStatus(), at: path, "folder cannot be made: \(lastSystemError())")
  }
}

/// Makes sure, before long work, that files can be written into the folder `path`: makes it, writes a file and removes it.
public func checkWritable(_ path: String) throws(Failure) {
  if exists(path) && !isDirectory(path) {
    throw Failure(.cannotCreate, at: path, "is a file, expected a folder or nothing")
  }
  try makeDirectory(path)
  _ = try AtomicFile("\(path)/probe")
}
