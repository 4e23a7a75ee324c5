import ArgumentParser
import Launcher
import System

/// The options that describe a job: a line for each setting, which says all about it.
struct LaunchOptions: ParsableArguments {
  @Option(name: names("config_file"), help: "YAML file that describes the cluster.")
  var configFile: String?

  @Option(.processes) var processes: GivenFlag?
  @Option(.machines) var machines: GivenFlag?
  @Option(.hostfile) var hostfile: GivenFlag?
  @Option(.ranksPerHost) var ranksPerHost: GivenFlag?
  @Option(.threads) var threads: GivenFlag?
  @Option(.starter) var starter: GivenFlag?
  @Option(.mpirun) var mpirun: GivenFlag?
  @Option(.binding) var binding: GivenFlag?
  @Option(.mixedPrecision) var mixedPrecision: GivenFlag?
  @Option(.gradientAccumulation) var gradientAccumulation: GivenFlag?
  @Option(.network) var network: [GivenFlag] = []
  @Option(.remoteShell) var remoteShell: GivenFlag?
  @Option(.sshPort) var sshPort: GivenFlag?
  @Option(.sshIdentity) var sshIdentity: GivenFlag?
  @Option(.export) var export: [GivenFlag] = []
  @Option(.include) var include: [GivenFlag] = []
  @Option(.exclude) var exclude: [GivenFlag] = []
  @Option(.workingFolder) var workingFolder: GivenFlag?
  @Option(.logFolder) var logFolder: GivenFlag?
  @Option(.ranksFilter) var ranksFilter: [GivenFlag] = []
  @Option(.stallTimeout) var stallTimeout: GivenFlag?
  @Option(.monitorInterval) var monitorInterval: GivenFlag?
  @Option(.maxRestarts) var maxRestarts: GivenFlag?
  @Option(.minProcesses) var minProcesses: GivenFlag?
  @Option(.mpirunArguments) var mpirunArguments: [GivenFlag] = []
  @Flag var switches: [Switch] = []

  @Flag(name: names("cpu"), help: "Do not read the default configuration file. (Everything runs on CPUs.)")
  var cpu = false

  @Option(name: names("machine_rank"), help: ArgumentHelp("Ignored: MPI numbers the hosts.", visibility: .hidden))
  var machineRank: String?

  @Option(name: names("main_process_ip"), help: ArgumentHelp("Ignored: MPI finds the hosts.", visibility: .hidden))
  var mainProcessIP: String?

  @Option(name: names("main_process_port"), help: ArgumentHelp("Ignored: MPI finds its ports.", visibility: .hidden))
  var mainProcessPort: String?

  /// The texts of the flags given, by the setting's name: of every property that is one.
  var flags: [String: [String]] {
    var flags: [String: [String]] = [:]
    for (_, property) in Mirror(reflecting: self).children {
      let given: [GivenFlag] =
        switch property {
        case let option as Option<GivenFlag?>: option.wrappedValue.map { [$0] } ?? []
        case let option as Option<[GivenFlag]>: option.wrappedValue
        default: []
        }
      for flag in given { flags[flag.setting, default: []].append(flag.text) }
    }
    for flag in switches { flags[flag.setting.name] = ["true"] }
    return flags
  }

  /// The settings that these options, the environment and the configuration file make.
  func settings(_ environment: Environment) throws(Failure) -> Settings {
    _ = try checkIgnored()
    return try Settings(
      flags: flags, environment: environment,
      file: try ConfigLocation.file(configFile, usesStandard: !cpu, environment))
  }

  /// Flags that mean nothing here though Accelerate's users give them, with the reason.
  func checkIgnored() throws(Failure) -> [String] {
    var notes: [String] = []
    if let machineRank {
      guard let rank = Int(machineRank), 0...65_534 ~= rank else {
        throw Failure(
          .usage, at: "--machine_rank", "\"\(machineRank.shortened)\", expected a whole number from 0 to 65534")
      }
      if let machines = machines.flatMap({ Int($0.text) }), rank >= machines {
        throw Failure(.usage, at: "--machine_rank", "\(rank), expected less than --num_machines \(machines)")
      }
      notes.append("--machine_rank is ignored: MPI numbers the hosts, and the launcher is started on one only")
    }
    if mainProcessIP != nil { notes.append("--main_process_ip is ignored: MPI finds the hosts") }
    if let mainProcessPort {
      guard let port = Int(mainProcessPort), 1...65_535 ~= port else {
        throw Failure(.usage, at: "--main_process_port", "\"\(mainProcessPort.shortened)\", expected 1 to 65535")
      }
      notes.append("--main_process_port is ignored: MPI finds its own ports")
    }
    return notes
  }

  /// Every spelling, for suggestions.
  static var spellings: [String] {
    let own = ["config_file", "in_process", "dry_run", "help", "cpu", "debugger", "debug_rank"]
    let names = SettingDefinition.all.flatMap { [$0.flag] + $0.aliases } + own
    return names.flatMap { ["--\($0)", "--\(dashed($0))"] }
  }
}
