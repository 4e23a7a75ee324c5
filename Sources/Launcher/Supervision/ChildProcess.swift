import CProcess
import Glibc
import System

/// A started process.
///
/// Not Foundation's `Process`, which hands down blocked signals and misses a child's death while a grandchild holds a
/// descriptor.
package struct ChildProcess: Sendable {
  package let pid: pid_t

  /// Starts `path` with no signal blocked or ignored, in a session of its own unless told otherwise.
  ///
  /// A session, because every rank leads a process group of its own: only by the session are they found together; and
  /// so that a Ctrl-C reaches the launcher alone, which passes it on once.
  ///
  /// - Parameters:
  ///   - arguments: the whole vector, without a terminating nil, the program's name first; each without NUL.
  ///   - descriptors: which descriptor of this process becomes which of the child; others are closed if marked so.
  package init(
    path: String, arguments: [[UInt8]], environment: Environment, descriptors: [(from: Int32, to: Int32)] = [],
    inNewSession: Bool = true
  ) throws(Failure) {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    var all = sigset_t()
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (inNewSession ? lockstep_spawn_new_session : 0)
    posix_spawnattr_setflags(&attributes, Int16(flags))

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // A number that is wanted in the child may be the source of another.
    let wanted = descriptors.map(\.to)
    var copies: [Int32] = []
    defer { for copy in copies { close(copy) } }
    for var descriptor in descriptors {
      if wanted.contains(descriptor.from), descriptor.from != descriptor.to {
        descriptor.from = fcntl(descriptor.from, F_DUPFD_CLOEXEC, (wanted.max() ?? 0) + 1)
        guard descriptor.from >= 0 else {
          throw Failure(
            .unavailable, at: path, "cannot be started: \(lastSystemError())", hint: "ulimit -n 1024")
        }
        copies.append(descriptor.from)
      }
      // A number beyond the limit on open files is refused here.
      guard posix_spawn_file_actions_adddup2(&actions, descriptor.from, descriptor.to) == 0 else {
        throw Failure(
          .unavailable, at: path, "cannot be started: file \(descriptor.to) is over the limit on open files",
          hint: "ulimit -n 64")
      }
    }

    var pid: pid_t = 0
    let status = withCStrings(arguments) { argv in
      withCStrings(environment.entries) { envp in posix_spawn(&pid, path, &actions, &attributes, argv, envp) }
    }
    guard status == 0 else {
      throw Failure(.unavailable, at: path, "cannot be started: \(String(cString: strerror(status)))")
    }
    self.pid = pid
  }

  /// How a process ended.
  package enum End: Sendable, Equatable {
    case status(Int32)
    case signal(Int32)

    var isStatus: Bool { if case .status = self { true } else { false } }

    /// From what `waitpid` says.
    init(waitStatus status: Int32) {
      let signal = status & 0x7F
      self = signal == 0 ? .status((status >> 8) & 0xFF) : .signal(signal)
    }
  }

  /// How the process ended; nil while it runs. Reaps it.
  package func end() -> End? {
    var status: Int32 = 0
    var result: pid_t
    repeat { result = waitpid(pid, &status, WNOHANG) } while result < 0 && errno == EINTR
    return result == pid ? End(waitStatus: status) : nil
  }
}

/// Replaces this process by the program at `path`; returns only to say why it could not.
public func execute(path: String, arguments: [[UInt8]], environment: Environment) -> Failure {
  // What this process ignores the program would too.
  signal(SIGXFSZ, SIG_DFL)
  withCStrings(arguments) { argv in withCStrings(environment.entries) { envp in _ = execve(path, argv, envp) } }
  let reason = errno == ENOEXEC ? "is neither a program nor a script with a #! line" : lastSystemError()
  return Failure(.missingInput, at: path, "cannot be run: \(reason)")
}

/// Calls `body` with `strings` as a vector of C strings that ends with nil.
package func withCStrings<Result>(
  _ strings: [[UInt8]], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
  let pointers = strings.map { string -> UnsafeMutablePointer<CChar>? in
    let copy = UnsafeMutablePointer<CChar>.allocate(capacity: string.count + 1)
    for (index, byte) in string.enumerated() { copy[index] = CChar(bitPattern: byte) }
    copy[string.count] = 0
    return copy
  }
  defer { for pointer in pointers { pointer?.deallocate() } }
  return (pointers + [nil]).withUnsafeBufferPointer { body($0.baseAddress!) }
}
