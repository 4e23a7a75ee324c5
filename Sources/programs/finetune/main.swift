import ArgumentParser
import Collectives
import FileSystem
import Training

Worker.run(program: "finetune") { (communicator) throws(Failure) in
  let reporter = Reporter(isActive: communicator.isMain)
  let parsed = try communicator.agree { () throws(Failure) in try parse(Array(CommandLine.arguments.dropFirst())) }
  switch parsed {
  case .help(let text): try reporter.line(text)
  case .command(let command): try finetune(command, communicator, reporter)
  }
}

private enum Parsed {
  case help(String)
  case command(FinetuneCommand)
}

/// Every rank parses, so that every rank knows; what is wrong is said once.
private func parse(_ arguments: [String]) throws(Failure) -> Parsed {
  do {
    return .command(try FinetuneCommand.parse(arguments))
  } catch {
    if FinetuneCommand.exitCode(for: error) == .success { return .help(FinetuneCommand.fullMessage(for: error)) }
    throw Failure(.usage, FinetuneCommand.message(for: error), hint: "finetune --help lists the options")
  }
}
