/// The command line of Open MPI's `mpirun` for a plan: a pure function, so that `--dry-run` and the tests see what runs.
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
    var options: [Option] = []
    func add(_ words: String..., comment: String) { options.append(Option(words, comment)) }

    add("--np", "\(plan.ranks)", comment: "ranks")
    if plan.isRoot {
      add("--allow-run-as-root", comment: "started as root; Open MPI refuses unless told")
    }
    if plan.isOversubscribed {
      add("--oversubscribe", comment: "\(plan.ranks) ranks on \(counted(plan.cores, "core"))")
    }
    add("--bind-to", "none", comment: "the default would pin a rank and all its threads to one core")
    add("--stdin", "none", comment: "no rank reads the terminal")
    add("--mca", "orte_abort_on_non_zero_status", "1", comment: "one rank failed: end them all")
    add("--mca", "orte_base_help_aggregate", "0", comment: "every rank's message, none folded")
    if plan.ranks * plan.threadsPerRank > plan.cores {
      add("--mca", "mpi_yield_when_idle", "1", comment: "a waiting rank gives its core away")
    }
    // MPI's own messages go to the launcher; a rank that inherited that descriptor number would write to nowhere.
    add("-x", "\(outputVariable)=2", comment: "a rank's own MPI messages go to its stderr")
    for name in plan.exportedVariables {
      add("-x", name, comment: "exported to every rank")
    }
    options.append(Option([plan.program] + plan.arguments, "the program, with its arguments"))
    return options
  }

  /// Tells Open MPI which descriptor its messages go to.
  package static let outputVariable = "OPAL_OUTPUT_STDERR_FD"

  /// One option a line, quoted for a shell, each with its comment.
  public static func commented(_ command: String, for plan: LaunchPlan) -> String {
    let lines =
      [(shellQuoted(command), "Open MPI")]
      + options(for: plan).map { ("  " + $0.words.map(shellQuoted).joined(separator: " "), $0.comment) }
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

/// `1 core`, `2 cores`.
package func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
