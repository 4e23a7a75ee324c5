import ArgumentParser
import Collectives
import Reporting
import System
import Training

/// `selftest kernels`: what ranks compute with, for a bug report.
struct KernelsCommand: RankCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernels", abstract: "Prints the BLAS and the kernels that it chose for this CPU.")

  func run(_ communicator: any Communicator, _ settings: RankSettings, _ reporter: Reporter) throws(Failure) {
    try reporter.line(Hardware.blas)
  }
}
