import Glibc

/// The two ends of a pipe, closed when this process becomes another program.
public struct Pipe: Sendable {
  /// Descriptor to read from.
  public let read: Int32
  /// Descriptor to write to.
  public let write: Int32

  /// - Throws: `.unavailable` where this process may have no more open files.
  public init() throws(Failure) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw Failure(.unavailable, "pipe failed: \(lastSystemError())") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    (read, write) = (ends[0], ends[1])
  }

  /// Closes both ends.
  public func close() { for end in [read, write] { Glibc.close(end) } }
}
