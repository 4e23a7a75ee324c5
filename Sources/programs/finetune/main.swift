import Collectives
import FileSystem
import ProgramSupport
import Training

Worker.run(program: "finetune") { (communicator) throws(Failure) in
  let reporter = Reporter(isActive: communicator.isMain)
  let parsed = try communicator.agree { () throws(Failure) in
    try parse(
      FinetuneCommand.self, as: FinetuneCommand.self, program: "finetune", Array(CommandLine.arguments.dropFirst()))
  }
  switch parsed {
  case .help(let text): try reporter.lines(text)
  case .command(let command): try finetune(command, communicator, reporter)
  }
}
