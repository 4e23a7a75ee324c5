import Collectives
import ProgramSupport
import Reporting
import System
import Training

Worker.run(program: "finetune", remedy: remedy) { (communicator, settings) throws(Failure) in
  let reporter = Reporter(isActive: communicator.isMain, columns: settings.terminalColumns)
  let parsed = try communicator.agree { () throws(Failure) in
    let arguments = Array(CommandLine.arguments.dropFirst()).joiningNegativeNumbers
    try RefusedOptions.check(arguments)
    return try parse(FinetuneCommand.self, as: FinetuneCommand.self, program: "finetune", arguments)
  }
  switch parsed {
  case .help(let text): try reporter.lines(text)
  case .command(let command): try finetune(command, communicator, settings, reporter)
  }
}
