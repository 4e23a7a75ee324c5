import FileSystem
import Glibc

/// The exit status of a job, and the line that explains it where the ranks have not done so themselves.
public struct Verdict: Sendable, Equatable {
  public var status: Int32
  public var message: String?

  public init(status: Int32, message: String? = nil) {
    self.status = status
    self.message = message
  }

  /// Judges a job by how mpirun ended and what it said. mpirun's status alone is no verdict: it is 0 for MPI_Abort(0),
  /// and 1 for a rank that left early.
  package init(end: ChildProcess.End, fault: MPIMessages.Fault?) {
    let rank = "rank" + (fault?.rank.map { " \($0)" } ?? "") + (fault?.host.map { " (host \($0))" } ?? "")
    switch end {
    case .signal(let signal):
      self.init(.lost, "mpirun itself was ended by \(signalName(signal)); the ranks went with it")
    case .status(let status):
      if let fault, let signal = fault.signal {
        self.init(rank: rank, signal: signal)
      } else if let fault, fault.isAbort, let chosen = fault.status {
        // The system keeps eight bits, so that 256 would be success.
        if chosen & 0xFF == 0 {
          self.init(.lost, "\(rank) called MPI_Abort with status \(chosen)")
        } else {
          self.init(status: Int32(chosen & 0xFF))
        }
      } else if fault?.isHostLost == true {
        self.init(.lost, "host \(fault?.host ?? "of a rank") was lost: it is down, cut off, or its orted was killed")
      } else if fault?.isHostUnreachable == true {
        self.init(.unavailable, "a host cannot be reached, or has no Open MPI on its PATH")
      } else if fault?.isUnfinished == true, status == 1 {
        self.init(.lost, "\(rank) ended with status 0 while the job was not finished")
      } else if 129...159 ~= status {
        self.init(rank: fault?.rank == nil ? "a rank" : rank, signal: status - 128)
      } else {
        self.init(status: status)
      }
    }
  }

  private init(_ status: ExitStatus, _ message: String) { self.init(status: status.rawValue, message: message) }

  private init(rank: String, signal: Int32) {
    // What a Swift trap, a bad pointer or a wrong instruction raises is a mistake in the program.
    let isTrap = [SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGABRT, SIGSYS].contains(signal)
    let memory = signal == SIGKILL ? "; if nobody did, the kernel may have: see dmesg for \"Out of memory\"" : ""
    self.init(isTrap ? .internalError : .lost, "\(rank) was ended by \(signalName(signal))\(memory)")
  }
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
