import FileSystem
import Glibc
import Launcher

/// What the launcher finds around itself.
struct LaunchContext {
  let launcher: String
  let programs: Programs
  let environment: Environment
  let cores = Cores.ofThisProcess()
  let hostName: String

  init() {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    let length = max(0, readlink("/proc/self/exe", &buffer, Int(PATH_MAX)))
    launcher = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    var environment = Environment.ofThisProcess()
    environment.removeRankVariables()
    self.environment = environment
    programs = Programs(folder: parent(of: launcher), searchPath: environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin")
    hostName = systemText("/proc/sys/kernel/hostname") ?? "localhost"
  }

  /// The configuration file of a user, where it is used when no other is named.
  var defaultConfigPath: String {
    if let path = environment["LOCKSTEP_CONFIG_FILE"], !path.isEmpty { return path }
    let folder =
      environment["XDG_CONFIG_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? (environment["HOME"] ?? "") + "/.config"
    return "\(folder)/lockstep/config.yaml"
  }

  func settings(_ options: LaunchOptions) throws(Failure) -> Settings {
    _ = try options.checkIgnored()
    var file: ConfigFile?
    if let path = options.configFile {
      file = try ConfigFile(path: path)
    } else if !options.cpu, exists(defaultConfigPath) {
      file = try ConfigFile(path: defaultConfigPath)
    }
    return try Settings(flags: options.flags, environment: { environment[$0] }, file: file)
  }
}
