import ArgumentParser
import Glibc
import Launcher
import System

/// The front-end: `launch [options] PROGRAM [arguments]`.
struct LaunchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "./launch",
    abstract: "Starts a program as many ranks that work in lockstep.",
    subcommands: [
      RunCommand.self, ConfigCommand.self, EnvironmentCommand.self, CheckCommand.self, TestCommand.self,
      CheckpointCommand.self, VerifyEquivalenceCommand.self, DownloadCommand.self, CacheCommand.self,
      EstimateMemoryCommand.self, PackCommand.self, CompletionsCommand.self,
    ],
    defaultSubcommand: RunCommand.self)

  /// Parses and runs the command; errors are one line, with the exit statuses of the package.
  ///
  /// - Parameter environment: this process's own, as it was read at the start.
  static func mainReportingInOneLine(_ environment: Environment) -> Never {
    do {
      var command = try parseAsRoot()
      if let command = command as? any MachineCommand {
        try command.run(on: .this(environment))
      } else {
        try command.run()
      }
      exit(withError: nil)
    } catch let failure as Failure {
      fail(failure)
    } catch {
      // Help and the like; or a mistake in the options.
      guard exitCode(for: error).isSuccess else {
        fail(Failure(.usage, message(for: error), hint: "./launch --help shows the options"))
      }
      do throws(Failure) { try put(fullMessage(for: error)) } catch { fail(error) }
      exit(withError: nil)
    }
  }
}

extension CommandLine {
  /// The process's arguments as bytes: file names need not be UTF-8.
  static var rawArguments: [[UInt8]] {
    (0..<Int(argc)).map { index in
      let argument = unsafeArgv[index]!
      return Array(UnsafeBufferPointer(start: argument, count: strlen(argument))).map { UInt8(bitPattern: $0) }
    }
  }
}
