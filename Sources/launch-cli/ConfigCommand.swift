import ArgumentParser
import Glibc
import Launcher
import System

/// Makes, changes and explains configuration files; alone, it asks questions.
struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config",
    abstract: "Make, change or explain a configuration file; alone, it asks questions.",
    subcommands: [AskCommand.self, Default.self, Update.self, Set.self, Explain.self],
    defaultSubcommand: AskCommand.self)

  /// Writes a file without asking.
  struct Default: MachineCommand {
    static let configuration = CommandConfiguration(abstract: "Write a file for this machine without asking.")
    @Option(name: names("config_file"), help: "The file to write.") var configFile: String?
    @Option(.mixedPrecision) var mixedPrecision: GivenFlag?

    func run(on machine: Machine) throws {
      let path = try ConfigLocation.toWrite(configFile, machine.environment)
      if exists(path) {
        try put(
          "Configuration already exists at \(path.escapingControlCharacters), will not override. Use config set or config update."
        )
        return
      }
      try saveConfiguration(
        [
          Setting.processes.name: .integer(LaunchPlan.defaultRanks(cores: machine.cores.usable)),
          Setting.machines.name: .integer(1),
          Setting.mixedPrecision.name: try ConfigFile.value(
            mixedPrecision?.text ?? "no", for: Setting.mixedPrecision.definition, machine.environment),
        ], to: path)
    }
  }

  /// Writes the file anew in the present form.
  struct Update: MachineCommand {
    static let configuration = CommandConfiguration(abstract: "Write the file anew in the present form.")
    @Option(name: names("config_file"), help: "The file.") var configFile: String?

    func run(on machine: Machine) throws {
      let path = try ConfigLocation.toWrite(configFile, machine.environment)
      let file = try ConfigFile(path: path, machine.environment)
      for ignored in file.ignored {
        try put("dropped \(ignored.key.escapingControlCharacters) (line \(ignored.line)): \(ignored.reason)")
      }
      try saveConfiguration(file.plainValues, to: path)
    }
  }

  /// Changes single values.
  struct Set: MachineCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change values: config set num_processes=4 lockstep.binding=core; KEY= removes one.")
    @Option(name: names("config_file"), help: "The file.") var configFile: String?
    @Argument(help: "KEY=VALUE") var assignments: [String]

    func run(on machine: Machine) throws {
      let path = try ConfigLocation.toWrite(configFile, machine.environment)
      var values = exists(path) ? try ConfigFile(path: path, machine.environment).plainValues : [:]
      for assignment in assignments {
        guard let equals = assignment.utf8.firstIndex(of: UInt8(ascii: "=")) else {
          throw Failure(.usage, at: assignment, "has no =, expected KEY=VALUE")
        }
        let setting = try ConfigFile.setting(String(assignment[..<equals]))
        let text = String(assignment[assignment.utf8.index(after: equals)...])
        values[setting.name] = text.isEmpty ? nil : try ConfigFile.value(text, for: setting, machine.environment)
      }
      try saveConfiguration(values, to: path)
    }
  }

  /// Prints every effective value with its origin.
  struct Explain: MachineCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print every effective value with its origin, and what is ignored and why.")
    @OptionGroup var options: LaunchOptions

    func run(on machine: Machine) throws {
      let settings = try options.settings(machine.environment)
      let cluster = try ClusterPlan(
        settings, cores: machine.cores.usable, isSingleProcess: false, ownName: machine.names,
        slurm: try SlurmAllocation(machine.environment))
      try put(Explanation.text(settings, cluster, machine.environment), terminator: "")
      for note in try options.checkIgnored() + (settings.file?.warnings ?? []) + cluster.warnings {
        try put("note: \(note.escapingControlCharacters)")
      }
    }
  }
}

extension ParsableCommand {
  /// Writes a configuration file and says where.
  func saveConfiguration(_ values: [String: SettingValue], to path: String) throws(Failure) {
    try makeDirectory(parent(of: path))
    try writeAtomically(Array(ConfigFile.text(values).utf8), to: path)
    try put("configuration saved at \(path.escapingControlCharacters)")
  }
}
