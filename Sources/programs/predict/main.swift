import Collectives
import Glibc
import ProgramSupport
import Reporting
import System
import Training

// One program for all commands that ask a trained model: `predict` itself, and `evaluate` or `report` where that is
// its first word.
// A reader that goes away is an error of the write, with a message.
signal(SIGPIPE, SIG_IGN)
let words = Array(CommandLine.arguments.dropFirst())
if words.first == EvaluateCommand.configuration.commandName {
  Worker.run(program: "evaluate", remedy: remedy) { (communicator, settings) throws(Failure) in
    let reporter = Reporter(isActive: communicator.isMain, columns: settings.terminalColumns)
    let parsed = try communicator.agree { () throws(Failure) in
      try parse(
        EvaluateCommand.self, as: EvaluateCommand.self, program: "evaluate",
        Array(CommandLine.arguments.dropFirst(2)))
    }
    switch parsed {
    case .help(let text): try reporter.lines(text)
    case .command(let command): try evaluate(command, communicator, settings, reporter)
    }
  }
} else if words.first == ReportCommand.configuration.commandName {
  Worker.run(program: "report", remedy: remedy) { (communicator, _) throws(Failure) in
    try communicator.agree { () throws(Failure) in
      guard communicator.isMain else { return }
      let arguments = Array(CommandLine.arguments.dropFirst(2))
      switch try parse(ReportCommand.self, as: ReportCommand.self, program: "report", arguments) {
      case .help(let text): try writeToStandardOutput("\(text)\n".utf8)
      case .command(let command): try command.write()
      }
    }
  }
} else {
  Worker.run(program: "predict", remedy: remedy) { (communicator, settings) throws(Failure) in
    let reporter = Reporter(isActive: communicator.isMain, columns: settings.terminalColumns)
    let parsed = try communicator.agree { () throws(Failure) in
      try parse(
        PredictCommand.self, as: PredictCommand.self, program: "predict", Array(CommandLine.arguments.dropFirst()))
    }
    switch parsed {
    case .help(let text): try reporter.lines(text)
    case .command(let command): try predict(command, communicator, settings)
    }
  }
}
