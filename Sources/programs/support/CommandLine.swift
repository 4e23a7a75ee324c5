import ArgumentParser
import FileSystem

/// What a command line of a program that ranks run asks for.
public enum ParsedCommand {
  case help(String)
  case command(any ParsableCommand)
}

/// Parses `arguments`, and turns what is wrong into a `.usage` failure, so that one rank can say it for all.
public func parse(
  _ root: (some ParsableCommand).Type, program: String, _ arguments: [String]
) throws(Failure) -> ParsedCommand {
  do {
    return .command(try root.parseAsRoot(arguments))
  } catch {
    if root.exitCode(for: error) == .success { return .help(root.fullMessage(for: error)) }
    throw Failure(.usage, root.message(for: error), hint: "\(program) --help lists the options")
  }
}
