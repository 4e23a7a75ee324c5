import ArgumentParser
import FileSystem
import Glibc
import Launcher

/// One block to paste into a bug report.
struct EnvironmentCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "env", abstract: "Print what a bug report needs: versions, CPU, memory, configuration.")

  @OptionGroup var options: LaunchOptions

  func run() throws {
    let context = LaunchContext()
    print("Copy-and-paste the text below in your bug report\n")
    for (name, value) in SystemFacts.gather(programs: context.programs, cores: context.cores) {
      print("- \(name): \(value)")
    }
    for name in ["OMPI_", "OMP_", "OPENBLAS_", "LOCKSTEP_", "SLURM_"] {
      for (key, value) in context.environment.variables(withPrefix: name) { print("- \(key): \(value)") }
    }
    let settings = try context.settings(options)
    print("- Configuration: \(settings.file?.path ?? "no file")")
    for setting in Setting.all {
      if let value = settings.values[setting.name] { print("\t- \(setting.name): \(value.value) (\(value.origin))") }
    }
  }
}
