import ArgumentParser
import Collectives
import Reporting
import System
import Training

/// A command that every rank runs.
protocol RankCommand: ParsableCommand {
  func run(_ communicator: any Communicator, _ settings: RankSettings, _ reporter: Reporter) throws(Failure)
}

/// The root command. A new subcommand is one file and one line in this list.
struct Selftest: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "selftest",
    abstract: "Tests ranks, data and training on as many ranks as it was started on; measures network and memory.",
    subcommands: [ChecksCommand.self, NetworkCommand.self, MemoryCommand.self, KernelsCommand.self],
    defaultSubcommand: ChecksCommand.self)
}

/// `selftest`: everything that a job relies on, from the ranks' numbers to equal weights after training.
struct ChecksCommand: RankCommand {
  static let configuration = CommandConfiguration(
    commandName: "checks", abstract: "Tests what a job relies on (the default).")

  func run(_ communicator: any Communicator, _ settings: RankSettings, _ reporter: Reporter) throws(Failure) {
    let places = try communicator.allGather(Array("\(communicator.host), rank \(communicator.localRank) there".utf8))
    for (rank, place) in places.enumerated() {
      try reporter.line("rank \(rank) of \(communicator.size): \(String(decoding: place, as: UTF8.self))")
    }
    try reporter.line("\(settings.threads) threads a rank, \(Hardware.blas)")
    for check in Check.communication + Check.data + Check.training {
      let problem = try check.problem(communicator, settings)
      try communicator.agree { () throws(Failure) in
        if let problem { throw Failure(.disagreement, at: check.name, problem) }
      }
      try reporter.line("ok  \(check.name)")
    }
    try reporter.line("Test is a success! You are ready for your distributed training!")
  }
}

/// One thing that must hold.
struct Check: Sendable {
  var name: String
  /// What is wrong on this rank; nil where nothing is. All ranks call it together.
  var problem: @Sendable (any Communicator, RankSettings) throws(Failure) -> String?
}

/// `what: found, expected wanted` where they differ.
func difference<Value: Equatable>(_ what: String, _ found: Value, _ wanted: Value) -> String? {
  if found == wanted { return nil }
  let (found, wanted) = ("\(found)", "\(wanted)")
  return "\(what): \(found.prefix(200)), expected \(wanted.prefix(200))"
}

/// Where `found` is not within `tolerance` of `wanted`, relative to it.
func difference(_ what: String, _ found: [Double], _ wanted: [Double], tolerance: Double) -> String? {
  guard found.count == wanted.count else { return "\(what): \(found.count) values, expected \(wanted.count)" }
  let worst = zip(found, wanted).enumerated().max {
    relativeError($0.element.0, $0.element.1) < relativeError($1.element.0, $1.element.1)
  }
  guard let worst, !(relativeError(worst.element.0, worst.element.1) <= tolerance) else { return nil }
  return "\(what) \(worst.offset + 1): \(worst.element.0), expected \(worst.element.1) within \(tolerance)"
}

private func relativeError(_ value: Double, _ expected: Double) -> Double {
  value == expected ? 0 : abs(value - expected) / max(abs(expected), 1e-30)
}

extension Communicator {
  /// The first of `problems`, if any.
  func first(_ problems: String?...) -> String? { problems.lazy.compactMap { $0 }.first }
}
