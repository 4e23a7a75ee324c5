import ArgumentParser
import Glibc
import ProgramSupport
import System
import Training

// inspect looks at one process's worth of the work and never talks to other ranks: where a launcher starts several, the
// first one answers.
let environment = Environment.ofThisProcess()
if let rank = launchedRank(environment), rank != 0 { exit(ExitStatus.success.rawValue) }

do {
  let settings = try Worker.prepareProcess(environment)
  let arguments = Array(CommandLine.arguments.dropFirst())
  switch try parse(Inspect.self, as: (any Inspection).self, program: "inspect", arguments) {
  case .help(let text): try writeToStandardOutput("\(text)\n".utf8)
  case .command(let command): try command.run(settings)
  }
} catch {
  var failure = error as? Failure ?? Failure(.internalError, "\(error)")
  failure.hint = remedy(for: failure) ?? failure.hint
  printError("inspect: error: \(failure)")
  exit(failure.status.rawValue)
}
