import Glibc
import System

/// When the processes that led to this one were started, the oldest first: `launch`, mpirun, this one.
struct Ancestry {
  private var processes: [(name: String, start: Double)] = []

  init() {
    var process = getpid()
    while let (name, parent, start) = Self.facts(process) {
      // A shell or a script above them is the user's.
      guard processes.isEmpty || ["launch", "mpirun", "orterun", "orted", "prterun"].contains(name) else { break }
      processes.insert((processes.isEmpty ? "process and MPI" : name, start), at: 0)
      process = parent
    }
  }

  /// Milliseconds from each start to the next, the last one's until `arrival`.
  func parts(until arrival: Double) -> [String: Double] {
    var parts: [String: Double] = [:]
    for (index, process) in processes.enumerated() {
      let end = index + 1 < processes.count ? processes[index + 1].start : arrival
      parts[process.name, default: 0] += 1e3 * max(0, end - process.start)
    }
    return parts
  }

  /// Of a process: its name, its parent and when it started, from `/proc/PID/stat`; the name stands in parentheses and
  /// may contain any character.
  private static func facts(_ process: pid_t) -> (name: String, parent: pid_t, start: Double)? {
    guard let text = systemText("/proc/\(process)/stat"), let open = text.firstIndex(of: "("),
      let close = text.lastIndex(of: ")")
    else { return nil }
    let fields = text[text.index(after: close)...].split(separator: " ")
    guard fields.count > 19, let parent = pid_t(fields[1]), let ticks = Double(fields[19]) else { return nil }
    return (String(text[text.index(after: open)..<close]), parent, ticks / Double(sysconf(Int32(_SC_CLK_TCK))))
  }
}
