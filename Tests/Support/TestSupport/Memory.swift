import Glibc
import System

/// A file of the kernel's, which has no size to go by.
func systemText(_ path: String) -> String { String(decoding: Program.contents(path), as: UTF8.self) }

/// How much memory this process could take.
enum FreeMemory {
  /// In bytes: what the machine has available, its control groups and its own limit leave.
  static func ofThisProcess() -> Int {
    var free = value("MemAvailable:", in: "/proc/meminfo").map { $0 << 10 } ?? 0
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur < rlim_t(Int.max) {
      free = min(free, Int(limit.rlim_cur))
    }
    for folder in MemoryGroup.foldersOfThisProcess {
      let names =
        MemoryGroup.isVersion1
        ? ("memory.limit_in_bytes", "memory.usage_in_bytes") : ("memory.max", "memory.current")
      guard let most = number("\(folder)/\(names.0)"), let used = number("\(folder)/\(names.1)") else { continue }
      free = min(free, most - used)
    }
    return free
  }

  private static func number(_ path: String) -> Int? {
    Int(systemText(path).prefix { $0 != "\n" })
  }

  private static func value(_ key: String, in path: String) -> Int? {
    let line = systemText(path).split(separator: "\n").first { $0.hasPrefix(key) }
    return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
  }
}

/// A control group with little memory.
package struct MemoryGroup {
  package let path: String

  static let isVersion1 = exists("/sys/fs/cgroup/memory/memory.limit_in_bytes")
  private static var root: String { isVersion1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup" }

  package init(bytes: Int) throws(Failure) {
    path = "\(Self.root)/lockstep-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    guard mkdir(path, 0o755) == 0 else { throw Failure(.cannotCreate, at: path, lastSystemError()) }
    let limit = "\(path)/\(Self.isVersion1 ? "memory.limit_in_bytes" : "memory.max")"
    guard let file = fopen(limit, "w"), fputs("\(bytes)", file) >= 0, fclose(file) == 0 else {
      let failure = Failure(.cannotCreate, at: limit, lastSystemError())
      remove()
      throw failure
    }
  }

  package func remove() {
    for _ in 0..<100 where rmdir(path) != 0 && errno == EBUSY { usleep(20_000) }
  }

  /// Why the kernel kills nothing here for the memory of a group; nil where it does.
  static func tryIt() -> String? {
    do {
      let group = try MemoryGroup(bytes: 16 << 20)
      defer { group.remove() }
      let script = "echo $$ >\(group.path)/cgroup.procs && x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x}"
      let outcome = try Program.run(["sh", "-c", script])
      return outcome.status == 137
        ? nil
        : "a process may take more memory than its control group has: \((outcome.errorLines + outcome.outputLines).last ?? "")"
    } catch {
      return "a memory control group cannot be made here: \(error)"
    }
  }

  /// The groups that limit this process, the innermost first.
  static var foldersOfThisProcess: [String] {
    let prefix = isVersion1 ? ":memory:" : "0::"
    for line in systemText("/proc/self/cgroup").split(separator: "\n") {
      guard let range = line.firstRange(of: prefix) else { continue }
      var folders: [String] = []
      var path = line[range.upperBound...]
      while true {
        folders.append(root + path)
        guard let slash = path.lastIndex(of: "/") else { break }
        path = path[..<slash]
      }
      return folders
    }
    return [root]
  }
}
