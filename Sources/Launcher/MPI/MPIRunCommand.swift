import System

/// The command line of `mpirun` for a plan: a pure function, so that `--dry-run` and the tests see what runs.
public enum MPIRunCommand {
  /// One option with its values, and what it is for.
  public struct Option: Sendable, Equatable {
    public var words: [String]
    public var comment: String

    public init(_ words: [String], _ comment: String) {
      self.words = words
      self.comment = comment
    }
  }

  /// The argument vector, without the path of mpirun itself.
  public static func arguments(for plan: LaunchPlan) -> [String] { options(for: plan).flatMap(\.words) }

  /// The options in order; the last is the program with its arguments.
  public static func options(for plan: LaunchPlan) -> [Option] {
    var options =
      switch plan.flavour {
      case .openMPI4: OpenMPI4Command.options(for: plan)
      case .openMPI5: OpenMPI5Command.options(for: plan)
      case .mpich, .intel: HydraCommand.options(for: plan)
      }
    if !plan.extraArguments.isEmpty { options.append(Option(plan.extraArguments, "as asked")) }
    if !plan.agent.isEmpty { options.append(Option(plan.agent, agentComment)) }
    options.append(Option([plan.program] + plan.arguments, "the program, with its arguments"))
    return options
  }

  static let agentComment = "stands beside each rank and reports on it"

  /// Variables that mpirun itself needs, besides its options.
  public static func variables(for plan: LaunchPlan) -> [(name: String, value: String)] {
    plan.flavour.isOpenMPI ? [] : HydraCommand.variables(for: plan)
  }

  /// The hostfile that mpirun is given, in its own grammar; nil where all ranks are on this machine.
  public static func hostfile(for plan: LaunchPlan) -> String? {
    plan.flavour.isOpenMPI ? plan.placement?.hostfile : plan.placement.map(HydraCommand.hostfile)
  }

  /// Refuses what this flavour cannot do, or what contradicts itself.
  public static func check(_ plan: LaunchPlan) throws(Failure) {
    if plan.placement == nil, plan.binding != "none", plan.ranks * plan.threadsPerRank > plan.cores {
      throw Failure(
        .usage, at: "binding",
        "\(plan.binding), but \(counted(plan.ranks, "rank")) of \(counted(plan.threadsPerRank, "thread")) want "
          + "\(plan.ranks * plan.threadsPerRank) cores and there are \(plan.cores)", hint: "--binding none")
    }
    if !plan.flavour.isOpenMPI { try HydraCommand.check(plan) }
  }

  /// Tells Open MPI which descriptor its messages go to.
  package static let outputVariable = "OPAL_OUTPUT_STDERR_FD"

  /// One option a line, quoted for a shell, each with its comment.
  public static func commented(_ command: String, for plan: LaunchPlan) -> String {
    commented(command, plan.flavour.rawValue, options(for: plan))
  }

  /// The command `command`, which is `what`, with `options`: one a line, quoted for a shell, each with its comment.
  public static func commented(_ command: String, _ what: String, _ options: [Option]) -> String {
    let lines =
      [(shellShown(command), what)]
      + options.map { ("  " + $0.words.map(shellShown).joined(separator: " "), $0.comment) }
    let width = min(lines.map(\.0.count).max() ?? 0, 60)
    return lines.map { line, comment in
      line + String(repeating: " ", count: max(0, width - line.count)) + "  # " + comment + "\n"
    }.joined()
  }
}
