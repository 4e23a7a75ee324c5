import ArgumentParser
import System

/// Prints a script with which a shell completes commands and options.
struct CompletionsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "completions",
    abstract: "Print completions for a shell.",
    discussion: """
      bash: source <(./launch completions bash)
      zsh: source <(./launch completions zsh), after compinit
      fish: ./launch completions fish | source
      """)

  @Argument(help: "bash, zsh or fish.", completion: .list(["bash", "zsh", "fish"]))
  var shell: String

  func run() throws {
    guard let shell = CompletionShell(rawValue: shell) else {
      throw Failure(.usage, at: "completions", "\"\(shell)\", expected bash, zsh or fish")
    }
    try put(CompletedLaunch.completionScript(for: shell))
  }
}

/// What a shell completes: the commands, and the options of run, which is meant where no command is named. Its name has
/// no path: shells look a command up by its last part too.
private struct CompletedLaunch: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "launch", subcommands: LaunchCommand.configuration.subcommands)

  @OptionGroup var run: RunCommand
}
