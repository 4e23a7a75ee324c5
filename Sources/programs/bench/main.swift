import Collectives
import ProgramSupport
import System
import Training

Worker.run(program: "bench", remedy: remedy) { (communicator, settings) throws(Failure) in
  let parsed = try communicator.agree { () throws(Failure) in
    try parse(Bench.self, as: (any Measurement).self, program: "bench", Array(CommandLine.arguments.dropFirst()))
  }
  switch parsed {
  case .command(let measurement): try measurement.run(communicator, settings)
  case .help(let text): if communicator.isMain { try writeToStandardOutput("\(text)\n".utf8) }
  }
}
