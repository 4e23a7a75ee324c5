import ArgumentParser
import Training

/// A subcommand.
protocol Inspection: ParsableCommand {
  /// - Parameter settings: what the environment says.
  func run(_ settings: RankSettings) throws
}

/// The root command. A new subcommand is one file and one line in this list.
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Shows what training would see: token ids, shards, batches, parameters, logits and gradients, as JSON.",
    subcommands: [
      TokensCommand.self,
      ShardsCommand.self,
      BatchesCommand.self,
      ModelCommand.self,
      ForwardCommand.self,
    ])
}
