import CProcess
import Glibc
import System

/// What stands between the launcher and mpirun for a moment: it asks the kernel for SIGTERM when the launcher dies, even
/// by `kill -9`, and becomes mpirun. mpirun then ends its ranks as it does for any SIGTERM.
public enum ParentDeathGuard {
  /// The first argument that makes the launcher's own binary act as the guard.
  public static let marker = "--become-guarded"

  /// The arguments with which the launcher's binary becomes `command` under its guard.
  package static func arguments(launcher: pid_t, command: [[UInt8]]) -> [[UInt8]] {
    [Array("launch".utf8), Array(marker.utf8), Array("\(launcher)".utf8)] + command
  }

  /// Acts as the guard where `arguments` (the process's own, as bytes) ask for it; returns otherwise.
  public static func runIfAsked(_ arguments: [[UInt8]], _ environment: Environment) -> Failure? {
    guard arguments.count >= 4, arguments[1].elementsEqual(marker.utf8) else { return nil }
    guard let launcher = pid_t(String(decoding: arguments[2], as: UTF8.self)) else {
      return Failure(.usage, at: marker, "\(String(decoding: arguments[2], as: UTF8.self)), expected a process number")
    }
    guard lockstep_signal_on_parent_death(SIGTERM) == 0 else {
      return Failure(.unavailable, "prctl(PR_SET_PDEATHSIG) failed: \(lastSystemError())")
    }
    // It may have died before the kernel was asked.
    guard getppid() == launcher else { return Failure(.lost, "the launcher ended while mpirun started") }
    return execute(
      path: String(decoding: arguments[3], as: UTF8.self), arguments: Array(arguments[3...]),
      environment: environment)
  }
}
