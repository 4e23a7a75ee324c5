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
    if !plan.keeper.isEmpty { options.append(Option(plan.keeper, keeperComment)) }
    options.append(Option([plan.program] + plan.arguments, "the program, with its arguments"))
    return options
  }

  static let keeperComment = "stands beside each rank and reports on it"

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

/// `word` as a shell reads it back as one word.
public func shellQuoted(_ word: String) -> String {
  let isPlain = { (byte: UInt8) in
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "-_./=:,+@%".utf8.contains(byte)
    }
  }
  guard word.isEmpty || !word.utf8.allSatisfy(isPlain) else { return word }
  // Over scalars: a quote with a combining mark is one Character, and another one.
  var quoted = "'"
  for scalar in word.unicodeScalars {
    if scalar == "'" { quoted += "'\\''" } else { quoted.unicodeScalars.append(scalar) }
  }
  return quoted + "'"
}

/// `word` as it is shown to be copied into bash: as above, but what would control a terminal is written with escapes.
public func shellShown(_ word: String) -> String {
  let escaped = word.escapingControlCharacters
  guard escaped != word else { return shellQuoted(word) }
  var quoted = "$'"
  for scalar in word.unicodeScalars {
    let text = String(scalar)
    if text.escapingControlCharacters != text {
      for byte in text.utf8 { quoted += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16) }
    } else {
      quoted += scalar == "'" || scalar == "\\" ? "\\" + text : text
    }
  }
  return quoted + "'"
}

/// `1 core`, `2 cores`.
package func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
