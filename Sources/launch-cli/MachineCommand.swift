import ArgumentParser
import Launcher
import System

/// A command that is told what there is to know of this machine, instead of looking around by itself.
protocol MachineCommand: ParsableCommand {
  func run(on machine: Machine) throws
}

extension MachineCommand {
  func run() throws { preconditionFailure("\(Self.self) was run without a machine") }
}
