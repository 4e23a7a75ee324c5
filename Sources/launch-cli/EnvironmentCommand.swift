import ArgumentParser
import Glibc
import Launcher
import System

/// One block to paste into a bug report.
struct EnvironmentCommand: MachineCommand {
  static let configuration = CommandConfiguration(
    commandName: "env", abstract: "Print what a bug report needs: versions, CPU, memory, configuration.")

  @OptionGroup var options: LaunchOptions

  func run(on machine: Machine) throws {
    try put("Copy-and-paste the text below in your bug report\n")
    for (name, value) in SystemFacts.gather(machine) {
      try put("- \(name): \(value.escapingControlCharacters)")
    }
    for name in ["OMPI_", "OMP_", "OPENBLAS_", "LOCKSTEP_", "SLURM_"] {
      for (key, value) in machine.environment.variables(withPrefix: name) {
        try put("- \(key.escapingControlCharacters): \(Secrets.shown(value, of: key))")
      }
    }
    let settings = try options.settings(machine.environment)
    try put("- Configuration: \((settings.file?.path ?? "no file").escapingControlCharacters)")
    for setting in SettingDefinition.all {
      guard let value = settings.values[setting.name] else { continue }
      let shown = Secrets.shown("\(value.value)", of: setting.name)
      try put("\t- \(setting.name): \(shown) (\("\(value.origin)".escapingControlCharacters))")
    }
  }
}
