import Glibc

/// Writes all of `bytes` to `descriptor`: the one write loop of the package.
///
/// A write that a signal interrupts is repeated, one that takes a part is continued, and a descriptor that somebody made
/// non-blocking is waited for.
///
/// - Parameter place: what the descriptor is, for the message.
/// - Throws: `.ioError` with the system's reason. Some of the bytes may have been written then.
public func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at place: String) throws(Failure) {
  var done = 0
  while done < bytes.count {
    let count = Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
    if count > 0 {
      done += count
    } else if count < 0 && errno == EINTR {
      continue
    } else if count < 0 && errno == EAGAIN {
      var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      _ = poll(&wait, 1, -1)
    } else {
      throw Failure(.ioError, at: place, "writing failed: \(count < 0 ? lastSystemError() : "nothing was taken")")
    }
  }
}

/// Writes all of `bytes` to `descriptor`. See ``writeAll(_:to:at:)-(UnsafeRawBufferPointer,_,_)``.
public func writeAll(_ bytes: [UInt8], to descriptor: Int32, at place: String) throws(Failure) {
  try bytes.withUnsafeBufferPointer { (buffer) throws(Failure) in
    try writeAll(UnsafeRawBufferPointer(buffer), to: descriptor, at: place)
  }
}

/// Writes all of `text` to standard output.
public func writeToStandardOutput(_ text: some Sequence<UInt8>) throws(Failure) {
  try writeAll(Array(text), to: STDOUT_FILENO, at: "standard output")
}
