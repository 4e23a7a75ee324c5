import Glibc
import Synchronization
import System

/// Writes to one output of the launcher from a thread of its own: a reader that stops reading, as a frozen terminal does,
/// holds up neither signals nor the ranks.
package final class OutputWriter: Sendable {
  private struct State {
    var queue: [[UInt8]] = []
    var bytes = 0
    /// What came while no more could wait.
    var lostBytes = 0
    /// Why nothing can be written any more.
    var failure: String?
    var lastWritten = ContinuousClock.now
    var isClosed = false
  }

  private let descriptor: Int32
  private let state = Mutex(State())
  /// The thread waits for a byte in here while there is nothing to write.
  private let waking: (read: Int32, write: Int32)

  private let mostBytes: Int
  private static let pieceBytes = 1 << 16

  /// - Parameter mostBytes: the most that waits for a reader that has stopped; what comes then is lost to it.
  package init(_ descriptor: Int32, mostBytes: Int = 256 << 20) throws(Failure) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw Failure(.unavailable, "pipe failed: \(lastSystemError())") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    self.descriptor = descriptor
    self.mostBytes = mostBytes
    waking = (ends[0], ends[1])
    var thread = pthread_t()
    let this = Unmanaged.passRetained(self)
    let status = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<OutputWriter>.fromOpaque(argument!).takeRetainedValue().work()
        return nil
      }, this.toOpaque())
    guard status == 0 else {
      this.release()
      for end in ends { Glibc.close(end) }
      throw Failure(
        .unavailable, "a thread cannot be started: \(String(cString: strerror(status)))",
        hint: "ulimit -u, or the number of processes that the container may have")
    }
    pthread_detach(thread)
  }

  /// Puts `bytes` behind what waits.
  package func write(_ bytes: [UInt8]) {
    let mustWake = state.withLock { state in
      guard state.failure == nil else { return false }
      guard state.bytes + bytes.count <= mostBytes else {
        state.lostBytes += bytes.count
        return false
      }
      let wasEmpty = state.bytes == 0
      if wasEmpty { state.lastWritten = .now }
      state.queue.append(bytes)
      state.bytes += bytes.count
      return wasEmpty
    }
    if mustWake { wake() }
  }

  /// Ends the thread once all is written.
  package func close() {
    state.withLock { $0.isClosed = true }
    wake()
  }

  var failure: String? { state.withLock { $0.failure } }
  /// How much the reader will not get, for it had stopped.
  package var lostBytes: Int { state.withLock { $0.lostBytes } }
  /// Whether all is written, or nothing can be.
  package var isDone: Bool { state.withLock { $0.bytes == 0 || $0.failure != nil } }
  /// For how long something has waited to be written, since the reader last took anything.
  var waited: Duration { state.withLock { $0.bytes == 0 ? .zero : .now - $0.lastWritten } }

  private func wake() {
    var byte: UInt8 = 0
    _ = Glibc.write(waking.write, &byte, 1)
  }

  private func work() {
    var byte: UInt8 = 0
    while true {
      let (next, isClosed) = state.withLock { state in
        (state.failure == nil ? state.queue.first : nil, state.isClosed)
      }
      if let next {
        write(piecesOf: next)
      } else if isClosed {
        break
      } else {
        while read(waking.read, &byte, 1) < 0 && errno == EINTR {}
      }
    }
    for end in [waking.read, waking.write] { Glibc.close(end) }
  }

  private func write(piecesOf bytes: [UInt8]) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress! + done, min($0.count - done, Self.pieceBytes))
      }
      if count > 0 {
        done += count
        state.withLock {
          $0.bytes -= count
          $0.lastWritten = .now
        }
      } else if errno == EAGAIN {
        var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = poll(&wait, 1, 1000)
      } else if errno != EINTR {
        let reason = lastSystemError()
        state.withLock { $0.failure = reason }
        return
      }
    }
    state.withLock { _ = $0.queue.removeFirst() }
  }
}

/// The launcher's two outputs, written in the order in which they are given where they are one terminal or file.
struct Screen: Sendable {
  private let writers: [OutputWriter]

  init() throws(Failure) {
    let output = try OutputWriter(STDOUT_FILENO)
    writers = Self.areOne ? [output, output] : [output, try OutputWriter(STDERR_FILENO)]
  }

  private static var areOne: Bool {
    var output = stat()
    var errors = stat()
    guard fstat(STDOUT_FILENO, &output) == 0, fstat(STDERR_FILENO, &errors) == 0 else { return false }
    return output.st_dev == errors.st_dev && output.st_ino == errors.st_ino
  }

  func write(_ bytes: [UInt8], isError: Bool) { if !bytes.isEmpty { writers[isError ? 1 : 0].write(bytes) } }

  private static let names = ["standard output", "standard error"]

  /// What a reader that had stopped will not get: how much, and of which output.
  var losses: [(name: String, bytes: Int)] {
    let names = Self.areOne ? ["standard output"] : Self.names
    return zip(names, writers).map { ($0, $1.lostBytes) }.filter { $0.1 > 0 }
  }

  var failure: Failure? {
    for (writer, name) in zip(writers, Self.names) {
      if let reason = writer.failure {
        return Failure(.ioError, at: name, "the ranks' output cannot be written: \(reason)")
      }
    }
    return nil
  }

  /// Waits until all is written; a signal ends that, and so does `patience` without a reader. The signal, or nil.
  func drain(_ signals: SignalQueue, patience: Duration?) -> Int32? {
    while !writers.allSatisfy(\.isDone) {
      if let patience, writers.contains(where: { $0.waited > patience }) { return nil }
      var wait = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
      _ = poll(&wait, 1, 2)
      while let signal = signals.next() {
        switch signal {
        case SIGINT, SIGTERM, SIGHUP, SIGQUIT: return signal
        case SIGTSTP: raise(SIGSTOP)
        default: break
        }
      }
    }
    return nil
  }

  func close() { for writer in writers { writer.close() } }
}

/// `text` as a line of the launcher's own.
public func launcherLine(_ text: String) -> [UInt8] {
  let most = 4096
  var line = text.escapingControlCharacters
  if line.utf8.count > most { line = String(line.unicodeScalars.prefix(most / 4)) + "…" }
  return Array("launch: \(line)\n".utf8)
}
