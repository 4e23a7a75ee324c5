import ArgumentParser
import Collectives
import FileSystem
import Training

Worker.run(program: "selftest") { (communicator) throws(Failure) in
  let reporter = Reporter(isActive: communicator.isMain)
  let parsed = try communicator.agree { () throws(Failure) in try parse(Array(CommandLine.arguments.dropFirst())) }
  switch parsed {
  case .help(let text): try reporter.line(text)
  case .command(let command): try command.run(communicator, reporter)
  }
}

private enum Parsed {
  case help(String)
  case command(any RankCommand)
}

/// Every rank parses, so that every rank knows; what is wrong is said once.
private func parse(_ arguments: [String]) throws(Failure) -> Parsed {
  do {
    let command = try Selftest.parseAsRoot(arguments)
    if let command = command as? any RankCommand { return .command(command) }
    return .help(Selftest.helpMessage())
  } catch {
    if Selftest.exitCode(for: error) == .success { return .help(Selftest.fullMessage(for: error)) }
    throw Failure(.usage, Selftest.message(for: error), hint: "selftest --help lists the options")
  }
}
