import ArgumentParser
import Collectives
import System
import Training

/// The root command. A new measurement is one file and one line in this list.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract:
      "Verifies, then times: training steps, predictions, matrix products, kernels, reductions, start-up. Prints JSON.",
    subcommands: [
      StepCommand.self, PredictCommand.self, GEMMCommand.self, KernelsCommand.self, AllreduceCommand.self,
      LoadCommand.self, CheckpointCommand.self,
    ])
}

/// A subcommand that all ranks run together.
protocol Measurement: ParsableCommand {
  func run(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure)
}
