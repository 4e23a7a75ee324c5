import Glibc
import System

/// What this host has too little of for MPI to start.
public enum Shortage {
  private static let leastFreeBytes = 8 << 20

  /// `/tmp has 1 MB free, MPI needs about 8 MB`; nil where all is well.
  public static func find(_ environment: Environment) -> String? {
    let temporary = ["TMPDIR", "TEMP", "TMP"].lazy.compactMap { environment[$0] }.first ?? "/tmp"
    for path in [temporary, "/dev/shm"] {
      var info = statvfs()
      guard statvfs(path, &info) == 0 else { continue }
      let (free, isHuge) = Int(clamping: info.f_bavail).multipliedReportingOverflow(by: Int(clamping: info.f_frsize))
      if !isHuge && free < leastFreeBytes {
        return "\(path) has \(free >> 20) MB free, MPI needs about \(leastFreeBytes >> 20) MB"
      }
    }
    return limit(RLIMIT_FSIZE, below: UInt64(leastFreeBytes)).map { "files are limited to \($0) kB (ulimit -f)" }
  }

  /// The limit on `resource` in kB, where there is one below `bytes`.
  private static func limit(_ resource: __rlimit_resource, below bytes: UInt64) -> UInt64? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0, limit.rlim_cur < bytes else { return nil }
    return UInt64(limit.rlim_cur) >> 10
  }
}
