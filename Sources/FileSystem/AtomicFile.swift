import Glibc

/// A file that appears under its name whole and durable, or not at all.
///
/// Written beside its destination under a fresh temporary name, then fsync, rename, fsync of the folder: without the
/// first fsync a power cut leaves an empty file under the final name, without the second the rename is lost.
/// A file that is never committed is removed when released.
public final class AtomicFile {
  public let path: String
  private let temporaryPath: String
  private let descriptor: Int32
  private var isOpen = true

  public init(_ path: String) throws(Failure) {
    self.path = path
    temporaryPath = "\(path).tmp-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      isOpen = false
      throw Failure(.cannotCreate, at: path, "cannot be written: \(lastSystemError())")
    }
  }

  deinit {
    guard isOpen else { return }
    close(descriptor)
    unlink(temporaryPath)
  }

  /// Appends `bytes`.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw Failure(.ioError, at: path, "writing failed: \(lastSystemError())") }
      done += count
    }
  }

  /// Appends `bytes`.
  public func write(_ bytes: [UInt8]) throws(Failure) {
    var failure: Failure?
    bytes.withUnsafeBytes { buffer in
      do throws(Failure) { try write(buffer) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// Makes the file durable and gives it its name, replacing what was there.
  public func commit() throws(Failure) {
    guard fsync(descriptor) == 0 else { throw Failure(.ioError, at: path, "fsync failed: \(lastSystemError())") }
    guard rename(temporaryPath, path) == 0 else {
      throw Failure(.cannotCreate, at: path, "cannot be renamed into place: \(lastSystemError())")
    }
    close(descriptor)
    isOpen = false
    try syncDirectory(parent(of: path))
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
    throw Failure(.cannotCreate, at: path, "folder cannot be made: \(lastSystemError())")
  }
}

/// The folder that holds `path`: everything before the last `/`, or `.`.
public func parent(of path: String) -> String {
  let bytes = Array(path.utf8)
  guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return "." }
  return slash == 0 ? "/" : String(decoding: bytes[..<slash], as: UTF8.self)
}

/// Makes sure, before long work, that files can be written into the folder `path`: makes it, writes a file and removes it.
public func checkWritable(_ path: String) throws(Failure) {
  if exists(path) && !isDirectory(path) {
    throw Failure(.cannotCreate, at: path, "is a file, expected a folder or nothing")
  }
  try makeDirectory(path)
  _ = try AtomicFile("\(path)/probe")
}

/// The path with links and dots resolved, or as it is where nothing is there.
public func realPath(_ path: String) -> String {
  guard let resolved = realpath(path, nil) else { return path }
  defer { free(resolved) }
  return String(cString: resolved)
}
