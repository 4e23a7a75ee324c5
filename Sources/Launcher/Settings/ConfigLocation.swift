import System

/// Where a user's configuration file is.
public enum ConfigLocation {
  /// The file that is used when no other is named; nil for a user without a home.
  static func standard(_ environment: Environment) -> String? {
    if let path = environment["LOCKSTEP_CONFIG_FILE"], !path.isEmpty { return path }
    // What is not absolute does not count, says the XDG specification.
    if let folder = environment["XDG_CONFIG_HOME"], folder.utf8.first == UInt8(ascii: "/") {
      return "\(folder)/lockstep/config.yaml"
    }
    return userHome(environment).map { "\($0)/.config/lockstep/config.yaml" }
  }

  /// The file to write: `given`, or the standard one.
  public static func toWrite(_ given: String?, _ environment: Environment) throws(Failure) -> String {
    if let given { return try expandingHome(given, environment) }
    // A service without HOME does not mean the file that its user starts every other job by.
    let isMeant = ["HOME", "XDG_CONFIG_HOME", "LOCKSTEP_CONFIG_FILE"].contains { !(environment[$0] ?? "").isEmpty }
    let path = standard(environment)
    if isMeant, let path { return path }
    throw Failure(
      .usage, "HOME is not set, so it is not clear which configuration file is meant",
      hint: "--config_file \(path ?? "FILE")")
  }

  /// The file that is in force: `given`, or the standard one where that is there and wanted.
  public static func file(
    _ given: String?, usesStandard: Bool, _ environment: Environment
  ) throws(Failure) -> ConfigFile? {
    if let given { return try ConfigFile(path: try expandingHome(given, environment), environment) }
    guard usesStandard, let path = standard(environment), exists(path) else { return nil }
    return try ConfigFile(path: path, environment)
  }
}
