import Glibc
import Synchronization

/// Signals that ask a process to stop in order: it takes note of them, and looks when it can stop.
public enum StopSignals {
  /// From now on SIGTERM, SIGINT and SIGUSR1 are noted and do not end the process. A second one of the first two does.
  ///
  /// - Parameter ancestors: so many of the processes above may end this one at once by SIGTERM and SIGINT, as before: what has
  ///   started it, and stops it in order by other means, sends them last. 2 at most.
  public static func accept(obeying ancestors: Int) {
    let above = ancestors > 0 ? getppid() : 0
    parent.store(above, ordering: .sequentiallyConsistent)
    grandparent.store(ancestors > 1 ? parentProcess(of: above) : 0, ordering: .sequentiallyConsistent)
    for number in [SIGTERM, SIGINT, SIGUSR1] {
      var action = sigaction()
      guard sigaction(number, nil, &action) == 0 else { continue }
      // What the user ignores, by nohup say, stays so; SIGUSR1 is ignored by ranks that cannot stop yet.
      if number != SIGUSR1, UInt(bitPattern: unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)) == 1 {
        continue
      }
      action.__sigaction_handler.sa_sigaction = take
      action.sa_flags = SA_SIGINFO | SA_RESTART
      sigaction(number, &action, nil)
    }
  }

  /// The parent of a process; 0 where it is not known.
  private static func parentProcess(of process: pid_t) -> pid_t {
    // Behind the name, which may hold anything: the state, and then the parent.
    let fields = (systemText("/proc/\(process)/stat") ?? "").split(separator: ")").last?.split(separator: " ") ?? []
    return fields.count > 1 ? pid_t(fields[1]) ?? 0 : 0
  }

  /// The first that came; nil before.
  public static var received: Int32? {
    let number = noted.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// The process ends early, as it was asked.
  public static func noteStop() { hasStopped.store(true, ordering: .relaxed) }

  /// What a process ends with that was asked to stop and has done so: 128 and the signal. Nil of any other.
  public static var stopStatus: ExitStatus? {
    hasStopped.load(ordering: .relaxed) ? ExitStatus(rawValue: 128 + (received ?? SIGUSR1)) : nil
  }
}

// As in SignalCleanup: a handler can be given nothing.

/// The first signal; 0 before.
private let noted = Atomic<Int32>(0)
private let hasStopped = Atomic<Bool>(false)
/// The processes whose signals end this one; 0 where there is none.
private let parent = Atomic<Int32>(0)
private let grandparent = Atomic<Int32>(0)

private let take: @convention(c) (Int32, UnsafeMutablePointer<siginfo_t>?, UnsafeMutableRawPointer?) -> Void = {
  number, info, _ in
  let sender = info?.pointee._sifields._kill.si_pid ?? 0
  let isParents =
    sender != 0
    && (sender == parent.load(ordering: .relaxed) || sender == grandparent.load(ordering: .relaxed))
  let isFirst = noted.compareExchange(expected: 0, desired: number, ordering: .relaxed).exchanged
  if number != SIGUSR1, isParents || !isFirst { SignalCleanup.removeAndDie(number) }
}
