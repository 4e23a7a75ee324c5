import Glibc
import System

/// Runs the launcher itself on other arguments, with what it writes in a file.
package enum LoggedLaunch {
  /// How it ended, or which signal to this process ended both.
  package enum Outcome { case ended(ChildProcess.End), stopped(by: Int32) }

  /// Runs it to its end. A signal that would end this process is passed on, and the job ends in its own way; if this
  /// process dies all the same, the job is ended too.
  ///
  /// - Parameters:
  ///   - arguments: behind the program's name.
  ///   - log: a file that is made, for its standard output and standard error.
  package static func run(
    _ arguments: [String], log: String, _ environment: Environment
  ) throws(Failure) -> Outcome {
    let output = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
    let input = open("/dev/null", O_RDONLY | O_CLOEXEC)
    defer {
      close(output)
      close(input)
    }
    guard output >= 0, input >= 0 else {
      throw Failure(.cannotCreate, at: log, "cannot be written: \(lastSystemError())")
    }
    let signals = try SignalQueue([SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT])
    defer { signals.close() }
    let own = "/proc/self/exe"
    let child = try ChildProcess(
      path: own,
      arguments: ParentDeathGuard.arguments(
        launcher: getpid(), command: ([own] + arguments).map { Array($0.utf8) }),
      environment: environment, descriptors: [(input, 0), (output, 1), (output, 2)])
    var stopSignal: Int32?
    while true {
      if let end = child.end() { return stopSignal.map { .stopped(by: $0) } ?? .ended(end) }
      var wait = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
      _ = poll(&wait, 1, 200)
      while let signal = signals.next() {
        // SIGCHLD only wakes the loop.
        if signal == SIGCHLD { continue }
        kill(child.pid, signal)
        stopSignal = stopSignal ?? signal
      }
    }
  }
}
