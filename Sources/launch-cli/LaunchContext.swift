import Glibc
import Launcher
import System

/// What the launcher finds around itself.
struct LaunchContext {
  let launcher: String
  let programs: Programs
  let environment: Environment
  let cores = Cores.ofThisProcess()
  let hostName: String
  /// Variables that another job of MPI's has left behind, which the job does not get.
  let leftovers: [String]
  var ownNames: LocalHostNames { LocalHostNames.ofThisMachine(hostName: hostName) }

  init() {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    let length = max(0, readlink("/proc/self/exe", &buffer, Int(PATH_MAX)))
    launcher = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    var environment = Environment.ofThisProcess()
    leftovers = environment.removeRankVariables()
    // Without one, mpirun finds neither its helpers nor ssh.
    if (environment["PATH"] ?? "").isEmpty { environment["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" }
    if let folder = HostRequirements.absoluteTemporaryFolder(environment) { environment["TMPDIR"] = folder }
    // Where there is no /sys, Open MPI's library would say so twice in every job.
    if !exists("/sys/devices/system/cpu"), environment["HWLOC_HIDE_ERRORS"] == nil {
      environment["HWLOC_HIDE_ERRORS"] = "2"
    }
    self.environment = environment
    programs = Programs(folder: parent(of: launcher), searchPath: environment["PATH"] ?? "")
    hostName = systemText("/proc/sys/kernel/hostname") ?? "localhost"
  }

  /// The configuration file of a user, where it is used when no other is named; nil for a user without a home.
  var defaultConfigPath: String? {
    if let path = environment["LOCKSTEP_CONFIG_FILE"], !path.isEmpty { return path }
    // What is not absolute does not count, says the XDG specification.
    if let folder = environment["XDG_CONFIG_HOME"], folder.utf8.first == UInt8(ascii: "/") {
      return "\(folder)/lockstep/config.yaml"
    }
    return userHome(environment).map { "\($0)/.config/lockstep/config.yaml" }
  }

  /// The same, for who wants to write it.
  func configPath(_ given: String?) throws(Failure) -> String {
    if let given { return try expandingHome(given) }
    // A service without HOME does not mean the file that its user starts every other job by.
    let isMeant = ["HOME", "XDG_CONFIG_HOME", "LOCKSTEP_CONFIG_FILE"].contains { !(environment[$0] ?? "").isEmpty }
    if isMeant, let path = defaultConfigPath { return path }
    throw Failure(
      .usage, "HOME is not set, so it is not clear which configuration file is meant",
      hint: "--config_file \(defaultConfigPath ?? "FILE")")
  }

  func settings(_ options: LaunchOptions) throws(Failure) -> Settings {
    _ = try options.checkIgnored()
    var file: ConfigFile?
    if let path = options.configFile {
      file = try ConfigFile(path: try expandingHome(path))
    } else if !options.cpu, let path = defaultConfigPath, exists(path) {
      file = try ConfigFile(path: path)
    }
    return try Settings(flags: options.flags, environment: { environment[$0] }, file: file)
  }
}
