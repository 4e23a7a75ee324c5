import ArgumentParser
import System

/// What a command line of a program that ranks run asks for.
public enum ParsedCommand<Command> {
  case help(String)
  case command(Command)
}

/// Parses `arguments`, and turns what is wrong into a `.usage` failure, so that one rank can say it for all.
///
/// - Parameter wanted: what every command of the program is; anything else that `root` knows shows help.
public func parse<Command>(
  _ root: (some ParsableCommand).Type, as wanted: Command.Type, program: String, _ arguments: [String]
) throws(Failure) -> ParsedCommand<Command> {
  do {
    var command = try root.parseAsRoot(arguments)
    if let command = command as? Command { return .command(command) }
    try command.run()
    return .help(root.helpMessage())
  } catch {
    if root.exitCode(for: error) == .success { return .help(root.fullMessage(for: error)) }
    throw Failure(.usage, root.message(for: error), hint: "\(program) --help lists the options")
  }
}
