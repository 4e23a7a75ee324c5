import ArgumentParser
import FileSystem
import Glibc
import Launcher

/// Makes, changes and explains configuration files; alone, it asks questions.
struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config",
    abstract: "Make, change or explain a configuration file; alone, it asks questions.",
    subcommands: [Ask.self, Default.self, Update.self, Set.self, Explain.self],
    defaultSubcommand: Ask.self)

  /// Asks for the cluster and writes the file.
  struct Ask: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ask", abstract: "Ask questions (the default).")
    @Option(name: names("config_file"), help: "The file to write.") var configFile: String?

    func run() throws {
      let context = LaunchContext()
      var values: [String: SettingValue] = [:]
      let hostfile = try question(
        "Hostfile with the machines (`host slots=N` a line; empty for this machine alone)", "")
      if hostfile.isEmpty {
        let ranks = LaunchPlan.defaultRanks(cores: context.cores.usable)
        values["num_processes"] = try ask("Ranks on this machine", "num_processes", "\(ranks)")
      } else {
        let hosts = try Hostfile(path: hostfile, ownName: context.hostName)
        values["mpirun_hostfile"] = .text(hostfile)
        if hosts.entries.contains(where: { $0.slots == nil }) {
          values["ranks_per_host"] = try ask("Ranks on a host without slots", "ranks_per_host", "1")
        }
        let network = try question("Network between the hosts (as 10.0.0.0/24 or eth0; empty to let MPI choose)", "")
        if !network.isEmpty { values["network"] = .list([network]) }
      }
      values["mixed_precision"] = try ask("Precision (no or bf16)", "mixed_precision", "no")
      let path = configFile ?? context.defaultConfigPath
      try write(values, to: path)
    }

    private func ask(_ text: String, _ name: String, _ standard: String) throws(Failure) -> SettingValue {
      while true {
        let answer = try question(text, standard)
        do throws(Failure) { return try ConfigFile.value(answer, for: try ConfigFile.setting(name)) } catch {
          print(error.description)
        }
      }
    }

    private func question(_ text: String, _ standard: String) throws(Failure) -> String {
      print(text + (standard.isEmpty ? "" : " [\(standard)]") + ": ", terminator: "")
      fflush(nil)
      guard let answer = readLine() else {
        throw Failure(.usage, "the answers ended early, expected one a line", hint: "config default asks nothing")
      }
      return answer.isEmpty ? standard : answer
    }
  }

  /// Writes a file without asking.
  struct Default: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Write a file for this machine without asking.")
    @Option(name: names("config_file"), help: "The file to write.") var configFile: String?
    @Option(name: names("mixed_precision"), help: "no or bf16.") var mixedPrecision = "no"

    func run() throws {
      let context = LaunchContext()
      let path = configFile ?? context.defaultConfigPath
      if exists(path) {
        print("Configuration already exists at \(path), will not override. Use config set or config update.")
        return
      }
      try write(
        [
          "num_processes": .integer(LaunchPlan.defaultRanks(cores: context.cores.usable)), "num_machines": .integer(1),
          "mixed_precision": try ConfigFile.value(mixedPrecision, for: try ConfigFile.setting("mixed_precision")),
        ], to: path)
    }
  }

  /// Writes the file anew in the present form.
  struct Update: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Write the file anew in the present form.")
    @Option(name: names("config_file"), help: "The file.") var configFile: String?

    func run() throws {
      let path = configFile ?? LaunchContext().defaultConfigPath
      let file = try ConfigFile(path: path)
      for ignored in file.ignored { print("dropped \(ignored.key) (line \(ignored.line)): \(ignored.reason)") }
      try write(file.plainValues, to: path)
    }
  }

  /// Changes single values.
  struct Set: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change values: config set num_processes=4 lockstep.binding=core; KEY= removes one.")
    @Option(name: names("config_file"), help: "The file.") var configFile: String?
    @Argument(help: "KEY=VALUE") var assignments: [String]

    func run() throws {
      let path = configFile ?? LaunchContext().defaultConfigPath
      var values = exists(path) ? try ConfigFile(path: path).plainValues : [:]
      for assignment in assignments {
        guard let equals = assignment.utf8.firstIndex(of: UInt8(ascii: "=")) else {
          throw Failure(.usage, at: assignment, "has no =, expected KEY=VALUE")
        }
        let setting = try ConfigFile.setting(String(assignment[..<equals]))
        let text = String(assignment[assignment.utf8.index(after: equals)...])
        values[setting.name] = text.isEmpty ? nil : try ConfigFile.value(text, for: setting)
      }
      try write(values, to: path)
    }
  }

  /// Prints every effective value with its origin.
  struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print every effective value with its origin, and what is ignored and why.")
    @OptionGroup var options: LaunchOptions

    func run() throws {
      let context = LaunchContext()
      let settings = try context.settings(options)
      let cluster = try ClusterPlan(
        settings, cores: context.cores.usable, isSingleProcess: false, ownName: context.hostName,
        slurm: try SlurmAllocation { context.environment[$0] })
      print(Explanation.text(settings, cluster) { context.environment[$0] }, terminator: "")
      for note in try options.checkIgnored() + cluster.warnings { print("note: \(note)") }
    }
  }
}

extension ParsableCommand {
  /// Writes a configuration file and says where.
  fileprivate func write(_ values: [String: SettingValue], to path: String) throws(Failure) {
    try makeDirectory(parent(of: path))
    try writeAtomically(Array(ConfigFile.text(values).utf8), to: path)
    print("configuration saved at \(path)")
  }
}
