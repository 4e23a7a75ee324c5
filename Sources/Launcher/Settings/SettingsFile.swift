import Glibc
import System

/// The bytes of a file of settings, at most `limitBytes`. Unlike data it may come through a pipe: `/dev/stdin`, `<(…)`.
func readSettings(_ path: String, limitBytes: Int) throws(Failure) -> [UInt8] {
  var info = stat()
  guard stat(path, &info) == 0, [S_IFIFO, S_IFSOCK, S_IFCHR].contains(info.st_mode & S_IFMT) else {
    return try readBytes(path, limitBytes: limitBytes)
  }
  let isStream = path == "/dev/stdin" || path.hasPrefix("/dev/fd/") || path.hasPrefix("/proc/self/fd/")
  guard isStream else { return try readBytes(path, limitBytes: limitBytes) }
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  guard descriptor >= 0 else { throw Failure(.missingInput, at: path, "cannot be opened: \(lastSystemError())") }
  defer { close(descriptor) }
  if isatty(descriptor) == 1 { throw Failure(.missingInput, at: path, "is a terminal, expected a file or a pipe") }
  return try readStream(descriptor, path, limitBytes: limitBytes)
}

/// How long a pipe may be silent.
private let silenceMilliseconds: Int32 = 10_000

private func readStream(_ descriptor: Int32, _ path: String, limitBytes: Int) throws(Failure) -> [UInt8] {
  var bytes: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&wait, 1, silenceMilliseconds) > 0 else {
      throw Failure(.missingInput, at: path, "has no end: nothing came for \(silenceMilliseconds / 1000) s")
    }
    let count = read(descriptor, &buffer, buffer.count)
    if count == 0 { return bytes }
    if count < 0 && (errno == EAGAIN || errno == EINTR) { continue }
    guard count > 0 else { throw Failure(.ioError, at: path, "reading failed: \(lastSystemError())") }
    bytes += buffer[..<count]
    guard bytes.count <= limitBytes else {
      throw Failure(.badData, at: path, "has more than \(limitBytes) bytes, expected at most that")
    }
  }
}
