import CProcess
import Glibc
import System

/// Signals as a queue to read from, instead of handlers that interrupt.
struct SignalQueue {
  let descriptor: Int32

  /// Also undoes what a parent had set to be ignored, except SIGHUP, whose being ignored is what `nohup` is for.
  init(_ signals: [Int32]) throws(Failure) {
    var set = sigset_t()
    sigemptyset(&set)
    for number in signals {
      var action = sigaction()
      sigaction(number, nil, &action)
      let isIgnored = unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1  // SIG_IGN
      if number == SIGHUP && isIgnored { continue }
      signal(number, SIG_DFL)
      sigaddset(&set, number)
    }
    sigprocmask(SIG_BLOCK, &set, nil)
    descriptor = signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
    guard descriptor >= 0 else { throw Failure(.unavailable, "signalfd failed: \(lastSystemError())") }
  }

  func next() -> Int32? {
    var info = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    return read(descriptor, &info, size) == size ? Int32(info.ssi_signo) : nil
  }

  func close() { Glibc.close(descriptor) }
}

/// `signal 9 (SIGKILL)`.
package func signalName(_ signal: Int32) -> String {
  let names: [Int32: String] = [
    SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGQUIT: "SIGQUIT", SIGILL: "SIGILL", SIGTRAP: "SIGTRAP", SIGABRT: "SIGABRT",
    SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGKILL: "SIGKILL", SIGUSR1: "SIGUSR1", SIGSEGV: "SIGSEGV",
    SIGUSR2: "SIGUSR2", SIGPIPE: "SIGPIPE", SIGALRM: "SIGALRM", SIGTERM: "SIGTERM", SIGXCPU: "SIGXCPU",
    SIGXFSZ: "SIGXFSZ", SIGSYS: "SIGSYS",
  ]
  return "signal \(signal)" + (names[signal].map { " (\($0))" } ?? "")
}
