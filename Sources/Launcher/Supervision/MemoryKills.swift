import Glibc
import System

/// Counts the processes that the kernel killed for lack of memory in the control group of a process.
struct MemoryKills {
  private var path: String?
  private var atStart: Int64 = 0

  init(of pid: pid_t) { _ = count(of: pid) }

  /// Kills since this was made; the group of a process that is gone is the last one known.
  mutating func count(of pid: pid_t) -> Int64 {
    if let now = Self.file(of: pid), now != path {
      path = now
      atStart = Self.kills(now) ?? 0
    }
    guard let path, let kills = Self.kills(path) else { return 0 }
    return kills - atStart
  }

  /// Of version 2 or version 1 of control groups.
  private static func file(of pid: pid_t) -> String? {
    let lines = (systemText("/proc/\(pid)/cgroup") ?? "").split(separator: "\n")
    for line in lines {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let group = fields[2] == "/" ? "" : fields[2]
      let candidates =
        fields[1].split(separator: ",").contains("memory")
        ? ["/sys/fs/cgroup/memory\(group)/memory.oom_control"]
        : fields[1].isEmpty ? ["/sys/fs/cgroup\(group)/memory.events"] : []
      for path in candidates where kills(path) != nil { return path }
    }
    return nil
  }

  private static func kills(_ path: String) -> Int64? {
    for line in (systemText(path) ?? "").split(separator: "\n") where line.hasPrefix("oom_kill ") {
      return Int64(line.dropFirst(9))
    }
    return nil
  }
}
