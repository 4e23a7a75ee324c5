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
  struct Default: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Write a file for this machine without asking.")
    @Option(name: names("config_file"), help: "The file to write.") var configFile: String?
    @Option(name: names("mixed_precision"), help: "no or bf16.") var mixedPrecision = "no"

    func run() throws {
      let context = LaunchContext()
      let path = try context.configPath(configFile)
      if exists(path) {
        try put(
          "Configuration already exists at \(path.escapingControlCharacters), will not override. Use config set or config update."
        )
        return
      }
      try saveConfiguration(
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
      let path = try LaunchContext().configPath(configFile)
      let file = try ConfigFile(path: path)
      for ignored in file.ignored {
        try put("dropped \(ignored.key.escapingControlCharacters) (line \(ignored.line)): \(ignored.reason)")
      }
      try saveConfiguration(file.plainValues, to: path)
    }
  }

  /// Changes single values.
  struct Set: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change values: config set num_processes=4 lockstep.binding=core; KEY= removes one.")
    @Option(name: names("config_file"), help: "The file.") var configFile: String?
    @Argument(help: "KEY=VALUE") var assignments: [String]

    func run() throws {
      let path = try LaunchContext().configPath(configFile)
      var values = exists(path) ? try ConfigFile(path: path).plainValues : [:]
      for assignment in assignments {
        guard let equals = assignment.utf8.firstIndex(of: UInt8(ascii: "=")) else {
          throw Failure(.usage, at: assignment, "has no =, expected KEY=VALUE")
        }
        let setting = try ConfigFile.setting(String(assignment[..<equals]))
        let text = String(assignment[assignment.utf8.index(after: equals)...])
        values[setting.name] = text.isEmpty ? nil : try ConfigFile.value(text, for: setting)
      }
      try saveConfiguration(values, to: path)
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
        settings, cores: context.cores.usable, isSingleProcess: false, ownName: context.ownNames,
        slurm: try SlurmAllocation { context.environment[$0] })
      try put(Explanation.text(settings, cluster) { context.environment[$0] }, terminator: "")
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
