import Glibc
import System

/// A limit on this process and its kind under which programs crash instead of saying what they lack.
struct ResourceLimit: Equatable {
  enum Kind: Int64 {
    case addressSpace = 1
    /// Of the control group.
    case groupProcesses
    /// Of the user.
    case userProcesses
  }

  var kind: Kind
  var value: Int64

  init?(kind: Int64, value: Int64) {
    guard let kind = Kind(rawValue: kind) else { return nil }
    (self.kind, self.value) = (kind, value)
  }

  /// The limit that is near, or that says nothing of how near it is; nil where there is none.
  ///
  /// - Parameter refusals: processes that the control group had been refused before.
  static func near(since refusals: Int64 = 0) -> ResourceLimit? {
    for group in processGroups where group.refusals > refusals || group.most < group.present + margin {
      return ResourceLimit(kind: Kind.groupProcesses.rawValue, value: group.most)
    }
    // Root is not held to it.
    if geteuid() != 0, let most = limit(userProcesses), most < ownThreads + margin {
      return ResourceLimit(kind: Kind.userProcesses.rawValue, value: most)
    }
    return limit(__rlimit_resource_t(RLIMIT_AS.rawValue)).flatMap {
      ResourceLimit(kind: Kind.addressSpace.rawValue, value: $0)
    }
  }

  /// Processes that the control group has been refused.
  static func refusals() -> Int64 { processGroups.map(\.refusals).max() ?? 0 }

  /// So many threads a rank and its helpers may have had.
  private static let margin: Int64 = 24

  /// RLIMIT_NPROC, which Swift does not import.
  private static let userProcesses: __rlimit_resource_t = 6

  private static func limit(_ resource: __rlimit_resource_t) -> Int64? {
    var limit = rlimit()
    guard getrlimit(resource, &limit) == 0 else { return nil }
    return Int64(exactly: limit.rlim_cur)
  }

  /// The control group and those above it that limit the number of processes.
  private static var processGroups: [(most: Int64, present: Int64, refusals: Int64)] {
    var groups: [(Int64, Int64, Int64)] = []
    for line in (systemText("/proc/self/cgroup") ?? "").split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let isUnified = fields[1].isEmpty
      guard isUnified || fields[1].split(separator: ",").contains("pids") else { continue }
      var group = fields[2].split(separator: "/").map(String.init)
      while true {
        let folder = (["/sys/fs/cgroup" + (isUnified ? "" : "/pids")] + group).joined(separator: "/")
        func number(_ name: String) -> Int64? {
          systemText("\(folder)/pids.\(name)")?.split(separator: " ").last.flatMap { Int64($0) }
        }
        if let most = number("max"), let present = number("current") {
          groups.append((most, present, number("events") ?? 0))
        }
        if group.isEmpty { break }
        group.removeLast()
      }
    }
    return groups
  }

  /// Threads that this user has.
  private static var ownThreads: Int64 {
    names(in: "/proc").reduce(0) { count, name in
      var info = stat()
      guard pid_t(name) != nil, stat("/proc/\(name)", &info) == 0, info.st_uid == getuid() else { return count }
      return count + Int64(names(in: "/proc/\(name)/task").count)
    }
  }

  /// `its address space may have 300 MB at most (ulimit -v)`.
  var text: String {
    switch kind {
    case .addressSpace: "its address space may have \(value >> 20) MB at most (ulimit -v)"
    case .groupProcesses: "its control group may have \(value) processes and threads at most (pids.max)"
    case .userProcesses: "its user may have \(value) processes and threads at most (ulimit -u)"
    }
  }
}
