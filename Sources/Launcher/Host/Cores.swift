import CProcess
import Glibc
import System

/// How many cores this process may really use: the affinity mask, physical cores, and the cgroup's share of time.
public struct Cores: Sendable, Equatable {
  /// CPUs in the affinity mask (hardware threads).
  public var allowedCPUs: Int
  /// Different physical cores among them.
  public var physical: Int
  /// CPU time that the control group grants, in CPUs; nil where it sets no limit.
  public var quota: Double?

  public init(allowedCPUs: Int, physical: Int, quota: Double? = nil) {
    self.allowedCPUs = allowedCPUs
    self.physical = physical
    self.quota = quota
  }

  /// Cores worth one busy thread each; at least 1.
  public var usable: Int {
    // A quota of 1.5 CPUs keeps one thread busy, not two.
    max(1, min(physical, quota.map { Int(max(1, min($0, 1e6))) } ?? physical))
  }

  /// What this process has.
  public static func ofThisProcess() -> Cores {
    let allowed = allowedCPUs()
    let root = "/sys/devices/system/cpu/cpu"
    let cores = Set(
      allowed.map { cpu in
        // Hardware threads of one core name the same siblings.
        systemText("\(root)\(cpu)/topology/thread_siblings_list") ?? "cpu\(cpu)"
      })
    return Cores(
      allowedCPUs: allowed.count, physical: cores.count,
      quota: quota(cgroups: systemText("/proc/self/cgroup") ?? "", read: systemText))
  }

  private static func allowedCPUs() -> [Int] {
    // The kernel refuses a mask that is shorter than its own.
    var mask = [UInt8](repeating: 0, count: 4096)
    let status = mask.withUnsafeMutableBytes { lockstep_cpu_affinity($0.baseAddress, $0.count) }
    guard status >= 0 else { return Array(0..<max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))) }
    return (0..<mask.count * 8).filter { mask[$0 / 8] & (1 << UInt8($0 % 8)) != 0 }
  }

  /// The smallest limit on CPU time of a process whose `/proc/self/cgroup` is `cgroups`, over all levels of its groups
  /// (`cpu.max` in version 2, `cpu.cfs_quota_us` in version 1).
  package static func quota(cgroups: String, read: (String) -> String?) -> Double? {
    var smallest: Double?
    func consider(_ quota: Substring?, _ period: Substring?) {
      guard let quota = quota.flatMap({ Double($0) }), let period = period.flatMap({ Double($0) }), quota > 0,
        period > 0
      else { return }
      smallest = min(smallest ?? .infinity, quota / period)
    }
    for line in cgroups.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let isUnified = fields[0] == "0" && fields[1].isEmpty
      guard isUnified || fields[1].split(separator: ",").contains("cpu") else { continue }
      let mount = isUnified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/\(fields[1])"
      var group = fields[2].split(separator: "/")
      while true {
        let folder = ([mount] + group.map(String.init)).joined(separator: "/")
        if isUnified {
          let limit = read("\(folder)/cpu.max")?.split(separator: " ") ?? []
          consider(limit.first, limit.last)
        } else {
          consider(
            read("\(folder)/cpu.cfs_quota_us").map { Substring($0) },
            read("\(folder)/cpu.cfs_period_us").map { Substring($0) })
        }
        if group.isEmpty { break }
        group.removeLast()
      }
    }
    return smallest
  }
}
