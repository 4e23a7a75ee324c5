import ArgumentParser
import FileSystem

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
    // Shells look a command with a path up by its last part too.
    print(Launch.completionScript(for: shell).replacing("./launch", with: "launch"))
  }
}
