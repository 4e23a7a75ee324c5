import Glibc
import System

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
