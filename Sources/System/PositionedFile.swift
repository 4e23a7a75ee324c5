import CFileSystem
import Glibc

/// A new file that several processes write at the same time, each at its own places.
///
/// Bytes that lie as the disk wants them go past the page cache where the file system allows that: what is not read again
/// soon takes neither the CPU's time for a copy nor memory from what is.
public final class PositionedFile: Sendable {
  public let path: String
  private let descriptor: Int32
  /// For what goes past the page cache; -1 where nothing does.
  private let direct: Int32

  /// Where bytes begin in memory and in the file, and how many they are, to go past the page cache: multiples of this.
  public static let alignment = 4096

  /// Makes the file, which only the user may read. Nothing may have its name.
  public convenience init(creating path: String) throws(Failure) { try self.init(path, O_CREAT | O_EXCL) }

  /// Opens the file that another process has made.
  public convenience init(joining path: String) throws(Failure) { try self.init(path, 0) }

  private init(_ path: String, _ flags: Int32) throws(Failure) {
    self.path = path
    let common = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
    descriptor = open(path, common | flags, 0o600)
    guard descriptor >= 0 else { throw Failure(outputStatus(), at: path, "cannot be written: \(lastSystemError())") }
    direct = open(path, common | lockstep_direct_flag())
  }

  deinit {
    close(descriptor)
    if direct >= 0 { close(direct) }
  }

  /// Writes all of `bytes` from the place `offset` on, in bytes.
  ///
  /// - Throws: `.ioError` with the system's reason. Some of the bytes may have been written then.
  public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(Failure) {
    var done = 0
    while done < bytes.count {
      let start = bytes.baseAddress! + done
      let isAligned = (Int(bitPattern: start) | offset + done | bytes.count - done) % Self.alignment == 0
      var count = -1
      if direct >= 0 && isAligned {
        count = pwrite(direct, start, bytes.count - done, off_t(offset + done))
        if count < 0 && errno == EINTR { continue }
      }
      // What can't go past the cache, or meets an error there, goes the common way, which has the last word.
      if count <= 0 { count = pwrite(descriptor, start, bytes.count - done, off_t(offset + done)) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        throw Failure(.ioError, at: path, "writing failed: \(count < 0 ? lastSystemError() : "nothing was taken")")
      }
      done += count
    }
  }

  /// Makes what all processes have written durable.
  public func flush() throws(Failure) {
    guard fsync(descriptor) == 0 else { throw Failure(.ioError, at: path, "fsync failed: \(lastSystemError())") }
  }
}
