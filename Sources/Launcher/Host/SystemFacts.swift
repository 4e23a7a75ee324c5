import Glibc
import System

/// What `env` says about this machine.
public enum SystemFacts {
  public static func gather(_ machine: Machine) -> [(name: String, value: String)] {
    var facts: [(String, String)] = []
    let (programs, cores, environment) = (machine.programs, machine.cores, machine.environment)
    var system = utsname()
    uname(&system)
    let kernel = withUnsafePointer(to: &system.release) {
      $0.withMemoryRebound(to: CChar.self, capacity: 65) { String(cString: $0) }
    }
    facts.append(("Platform", "\(field("PRETTY_NAME", in: "/etc/os-release", "=") ?? "Linux"), kernel \(kernel)"))
    facts.append(("CPU", field("model name", in: "/proc/cpuinfo", ":") ?? "unknown"))
    let flags = (field("flags", in: "/proc/cpuinfo", ":") ?? "").split(separator: " ").map(String.init)
    let wanted = ["avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile"]
    facts.append(("CPU features", wanted.filter(flags.contains).joined(separator: " ")))
    let quota = cores.quota.map { ", quota of \($0) CPUs" } ?? ""
    facts.append(
      ("Cores", "\(cores.usable) usable (\(cores.allowedCPUs) CPUs allowed, \(cores.physical) cores\(quota))"))
    let nodes = names(in: "/sys/devices/system/node").filter { $0.hasPrefix("node") && Int($0.dropFirst(4)) != nil }
    let places = nodes.sorted().map { node in
      "\(node): CPUs \(systemText("/sys/devices/system/node/\(node)/cpulist") ?? "unknown")"
    }
    facts.append(
      ("NUMA nodes", "\(max(1, nodes.count))" + (places.isEmpty ? "" : " (\(places.joined(separator: "; ")))")))
    facts.append(("Launcher", "\(programs.folder)/launch"))
    for (label, key) in [("Memory", "MemTotal"), ("Free memory", "MemAvailable")] {
      guard let text = field(key, in: "/proc/meminfo", ":"), let kilobytes = Double(text.prefix { $0 != " " }) else {
        continue
      }
      facts.append((label, gigabytes(kilobytes * 1024)))
    }
    var shared = statvfs()
    if statvfs("/dev/shm", &shared) == 0 {
      facts.append(("/dev/shm", gigabytes(Double(shared.f_bavail) * Double(shared.f_frsize)) + " free"))
    }
    facts.append(
      (
        "MPI",
        programs.find("mpirun").map { "\(firstLine($0, ["--version"], environment) ?? "unknown"), \($0)" }
          ?? "none: no mpirun"
      ))
    facts.append(("BLAS", libraries(["libopenblas.so.0", "libopenblas.so"]) ?? "no OpenBLAS found"))
    if let path = try? programs.path(of: "selftest"), let kernels = firstLine(path, ["kernels"], environment) {
      facts.append(("BLAS kernels", kernels))
    }
    facts.append(("MPI library", libraries(["libmpi.so.40", "libmpi.so.12"]) ?? "none found"))
    facts.append(("oneDNN", libraries(["libdnnl.so.2", "libdnnl.so.3", "libdnnl.so"]) ?? "not installed"))
    return facts
  }

  private static func gigabytes(_ bytes: Double) -> String { "\(formatted(bytes / Double(1 << 30), digits: 2)) GB" }

  /// The value of the first line `key <separator> value` in a file.
  private static func field(_ key: String, in path: String, _ separator: Character) -> String? {
    for line in (systemText(path) ?? "").split(separator: "\n") {
      guard let at = line.firstIndex(of: separator) else { continue }
      guard line[..<at].split(whereSeparator: \.isWhitespace).joined(separator: " ") == key else { continue }
      let value = line[line.index(after: at)...].drop(while: \.isWhitespace)
      return value.hasPrefix("\"") ? String(value.dropFirst().prefix { $0 != "\"" }) : String(value)
    }
    return nil
  }

  /// The file behind the first of `names` that the loader's folders hold.
  private static func libraries(_ names: [String]) -> String? {
    for folder in [
      "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib", "/usr/lib64", "/usr/lib",
    ] {
      for name in names where exists("\(folder)/\(name)") {
        guard let resolved = realpath("\(folder)/\(name)", nil) else { continue }
        defer { free(resolved) }
        return String(cString: resolved)
      }
    }
    return nil
  }

  /// The first line that a program prints.
  private static func firstLine(_ path: String, _ arguments: [String], _ environment: Environment) -> String? {
    let text = capturedOutput([path] + arguments, environment: environment, seconds: 10)
    return text?.split(separator: "\n").first.map(String.init)
  }
}
