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
  private let waking: Pipe

  private let mostBytes: Int
  private static let pieceBytes = 1 << 16

  /// - Parameter mostBytes: the most that waits for a reader that has stopped; what comes then is lost to it.
  package init(_ descriptor: Int32, mostBytes: Int = 256 << 20) throws(Failure) {
    waking = try Pipe()
    self.descriptor = descriptor
    self.mostBytes = mostBytes
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
      waking.close()
      throw Failure(
        .unavailable, "a thread cannot be started: \(String(cString: strerror(status)))",
        hint: "ulimit -u or ulimit -v, or the number of processes that the container may have")
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
    // Under the lock, and once: the thread closes the pipe when it has seen the mark.
    state.withLock { state in
      if !state.isClosed { wake() }
      state.isClosed = true
    }
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
    waking.close()
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
