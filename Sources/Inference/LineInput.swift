import Glibc
import System

/// Lines of a pipe, a terminal or a file as they come: what is there is given out, and nobody waits for more.
public struct LineInput {
  private let descriptor: Int32
  private let name: String
  private var splitter: LineSplitter
  private var lines: ArraySlice<LineSplitter.Line> = []
  private var hasEnded = false
  private var block = [UInt8](repeating: 0, count: 1 << 16)

  /// - Parameters:
  ///   - descriptor: stays the caller's to close.
  ///   - name: what errors call it.
  public init(descriptor: Int32, name: String, splitter: LineSplitter = LineSplitter()) {
    self.descriptor = descriptor
    self.name = name
    self.splitter = splitter
  }

  /// Up to `most` lines: those that are there, or else the first that come within `milliseconds`; none where none come.
  /// Nil at the end.
  public mutating func next(atMost most: Int, milliseconds: Int32) throws(Failure) -> [LineSplitter.Line]? {
    var wait = lines.isEmpty ? milliseconds : 0
    while lines.count < most, !hasEnded, try isReady(within: wait) {
      try read()
      wait = 0
    }
    if lines.isEmpty && hasEnded { return nil }
    let taken = lines.prefix(most)
    lines = lines.dropFirst(taken.count)
    return Array(taken)
  }

  private func isReady(within milliseconds: Int32) throws(Failure) -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    let count = poll(&request, 1, milliseconds)
    if count < 0 {
      if errno == EINTR { return false }
      throw Failure(.ioError, at: name, "waiting for input failed: \(lastSystemError())")
    }
    return count > 0
  }

  private mutating func read() throws(Failure) {
    let count = Glibc.read(descriptor, &block, block.count)
    if count < 0 {
      if errno == EINTR || errno == EAGAIN { return }
      throw Failure(.ioError, at: name, "reading failed: \(lastSystemError())")
    }
    if count == 0 {
      hasEnded = true
      if let last = splitter.end() { lines.append(last) }
    } else {
      lines += splitter.add(block[..<count])
    }
  }
}
