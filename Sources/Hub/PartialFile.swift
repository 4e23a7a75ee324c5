import Glibc
import System

/// A file that is being fetched: it has a name of its own until it is whole and checked.
///
/// What a dead process left of the same file is taken over, as bytes: two processes that write to one file, where locks do
/// nothing, can never mix.
final class PartialFile {
  let path: String
  private let descriptor: Int32
  private(set) var byteCount = 0
  private var isKept = false

  /// - Parameter stem: the path of the file that is to be, which gets `.<8 digits>.incomplete`.
  init(_ stem: String) throws(Failure) {
    path = "\(stem).\(temporaryDigits()).incomplete"
    descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Failure(outputStatus(), at: path, "cannot be made: \(lastSystemError())") }
    _ = flock(descriptor, LOCK_EX | LOCK_NB)
  }

  deinit {
    close(descriptor)
    if !isKept { unlink(path) }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
    try writeAll(bytes, to: descriptor, at: path)
    byteCount += bytes.count
  }

  /// Begins again.
  func clear() throws(Failure) {
    guard ftruncate(descriptor, 0) == 0, lseek(descriptor, 0, SEEK_SET) == 0 else {
      throw Failure(.ioError, at: path, "cannot be emptied: \(lastSystemError())")
    }
    byteCount = 0
  }

  /// Leaves the bytes for the next process.
  func keep() { isKept = true }

  /// Makes the file durable and gives it its name.
  func commit(as name: String) throws(Failure) {
    guard fsync(descriptor) == 0 else { throw Failure(.ioError, at: path, "fsync failed: \(lastSystemError())") }
    guard rename(path, name) == 0 else {
      throw Failure(outputStatus(), at: name, "cannot be renamed into place: \(lastSystemError())")
    }
    isKept = true
    try syncDirectory(parent(of: name))
  }

  /// Writes what dead processes left of the file `stem` here, the longest of it, and removes it. Shorter than `limit`.
  func takeOver(_ stem: String, limit: Int?, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    let folder = parent(of: stem)
    let prefix = "\(lastComponent(of: stem))."
    var remains: [(path: String, file: InputFile)] = []
    for name in names(in: folder) where name.hasPrefix(prefix) && name.hasSuffix(".incomplete") {
      let other = "\(folder)/\(name)"
      guard other != path, Self.isAbandoned(other), let file = try? InputFile(other) else { continue }
      remains.append((other, file))
    }
    if let best = remains.max(by: { $0.file.byteCount < $1.file.byteCount }), best.file.byteCount > 0,
      best.file.byteCount < limit ?? .max
    {
      try best.file.forEachPiece { (bytes) throws(Failure) in
        try write(bytes)
        try body(bytes)
      }
    }
    for other in remains { unlink(other.path) }
  }

  /// Whether nobody writes to it: whoever does holds the blob's lock, which we have, or a lock on the file.
  private static func isAbandoned(_ path: String) -> Bool {
    let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var info = stat()
    return fstat(descriptor, &info) == 0 && info.st_mode & S_IFMT == S_IFREG && info.st_uid == geteuid()
      && flock(descriptor, LOCK_EX | LOCK_NB) == 0
  }
}
