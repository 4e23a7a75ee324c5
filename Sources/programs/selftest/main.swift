import Collectives
import ProgramSupport
import Reporting
import System
import Training

Worker.run(program: "selftest", remedy: remedy) { (communicator, settings) throws(Failure) in
  let reporter = Reporter(isActive: communicator.isMain, columns: settings.terminalColumns)
  let parsed = try communicator.agree { () throws(Failure) in
    try parse(
      Selftest.self, as: (any RankCommand).self, program: "selftest", Array(CommandLine.arguments.dropFirst()))
  }
  switch parsed {
  case .help(let text): try reporter.lines(text)
  case .command(let command): try command.run(communicator, settings, reporter)
  }
}
