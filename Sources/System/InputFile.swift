import Glibc

/// The text of the C library's current `errno`.
public func lastSystemError() -> String { String(cString: strerror(errno)) }

/// The status for an output that cannot be made, by the current `errno`: a full disk is no matter of its name.
package func outputStatus() -> ExitStatus { [ENOSPC, EDQUOT, EIO].contains(errno) ? .ioError : .cannotCreate }

/// A file open for reading at positions. Closed when released.
///
/// Reads instead of mapping: a mapped file that somebody truncates meanwhile kills the process with SIGBUS.
public final class InputFile: Sendable {
  public let path: String
  /// The size in bytes when the file was opened.
  public let byteCount: Int
  private let descriptor: Int32

  /// Opens a regular file. Directories, pipes and devices are refused.
  public init(_ path: String) throws(Failure) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw Failure(.missingInput, at: path, "cannot be opened: \(lastSystemError())")
    }
    var info = stat()
    guard fstat(descriptor, &info) == 0 else {
      let reason = lastSystemError()
      close(descriptor)
      throw Failure(.missingInput, at: path, "cannot be examined: \(reason)")
    }
    guard info.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      let kind = info.st_mode & S_IFMT == S_IFDIR ? "a directory" : "not a regular file"
      throw Failure(.missingInput, at: path, "is \(kind), expected a file")
    }
    self.path = path
    self.byteCount = Int(info.st_size)
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Fills `buffer` (overwrites it) with the bytes from `offset` on; a file that ends earlier is an error.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Failure) {
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw Failure(.ioError, at: path, "reading failed: \(lastSystemError())") }
      guard count > 0 else {
        throw Failure(
          .badData, at: path, "ends at byte \(offset + done), expected at least \(offset + buffer.count) bytes")
      }
      done += count
    }
  }
}

/// All bytes of the file at `path`; a file of more than `limitBytes` is refused before anything is allocated.
public func readBytes(_ path: String, limitBytes: Int = 1 << 30) throws(Failure) -> [UInt8] {
  let file = try InputFile(path)
  guard file.byteCount <= limitBytes else {
    throw Failure(.badData, at: path, "has \(file.byteCount) bytes, expected at most \(limitBytes)")
  }
  return try file.bytes(count: file.byteCount)
}

/// The first bytes of the file at `path`, `limitBytes` at most.
public func readStart(_ path: String, limitBytes: Int) throws(Failure) -> [UInt8] {
  let file = try InputFile(path)
  return try file.bytes(count: min(file.byteCount, limitBytes))
}

extension InputFile {
  /// The first `count` bytes.
  fileprivate func bytes(count: Int) throws(Failure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var failure: Failure?
    bytes.withUnsafeMutableBytes { buffer in
      do throws(Failure) { try read(into: buffer, at: 0) } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }
}

/// Whether something is at `path`.
public func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Whether a directory is at `path`.
public func isDirectory(_ path: String) -> Bool {
  var info = stat()
  return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
}
