import ArgumentParser
import Glibc
import Launcher
import System

/// One block to paste into a bug report.
struct EnvironmentCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "env", abstract: "Print what a bug report needs: versions, CPU, memory, configuration.")

  @OptionGroup var options: LaunchOptions

  func run() throws {
    let context = LaunchContext()
    try put("Copy-and-paste the text below in your bug report\n")
    for (name, value) in SystemFacts.gather(programs: context.programs, cores: context.cores) {
      try put("- \(name): \(value.escapingControlCharacters)")
    }
    for name in ["OMPI_", "OMP_", "OPENBLAS_", "LOCKSTEP_", "SLURM_"] {
      for (key, value) in context.environment.variables(withPrefix: name) {
        try put("- \(key.escapingControlCharacters): \(Secrets.shown(value, of: key))")
      }
    }
    let settings = try context.settings(options)
    try put("- Configuration: \((settings.file?.path ?? "no file").escapingControlCharacters)")
    for setting in Setting.all {
      guard let value = settings.values[setting.name] else { continue }
      let shown = Secrets.shown("\(value.value)", of: setting.name)
      try put("\t- \(setting.name): \(shown) (\("\(value.origin)".escapingControlCharacters))")
    }
  }
}
