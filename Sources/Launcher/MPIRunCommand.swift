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

    if plan.placement != nil {
      add("--hostfile", plan.hostfilePath, comment: "the hosts, checked and written afresh")
    }
    add("--np", "\(plan.ranks)", comment: "ranks")
    if plan.isRoot {
      add("--allow-run-as-root", comment: "started as root; Open MPI refuses unless told")
    }
    if plan.isOversubscribed {
      add("--oversubscribe", comment: "\(plan.ranks) ranks on \(counted(plan.cores, "core"))")
    }
    if plan.placement != nil { add("--map-by", "slot", comment: "each host filled before the next") }
    add(
      "--bind-to", plan.binding,
      comment: plan.binding == "none" ? "the default would pin a rank and all its threads to one core" : "as asked")
    add("--stdin", "none", comment: "no rank reads the terminal")
    if let folder = plan.workingFolder { add("--wdir", folder, comment: "the folder that ranks start in") }
    add("--mca", "orte_abort_on_non_zero_status", "1", comment: "one rank failed: end them all")
    add("--mca", "orte_base_help_aggregate", "0", comment: "every rank's message, none folded")
    if plan.placement == nil, plan.ranks * plan.threadsPerRank > plan.cores {
      add("--mca", "mpi_yield_when_idle", "1", comment: "a waiting rank gives its core away")
    }
    if plan.placement != nil { options += remoteOptions(for: plan) }
    // MPI's own messages go to the launcher; a rank that inherited that descriptor number would write to nowhere.
    add("-x", "\(outputVariable)=2", comment: "a rank's own MPI messages go to its stderr")
    for name in plan.exportedVariables {
      add("-x", name, comment: "exported to every rank")
    }
    if !plan.extraArguments.isEmpty { options.append(Option(plan.extraArguments, "as asked")) }
    if !plan.keeper.isEmpty { options.append(Option(plan.keeper, "stands beside each rank and reports on it")) }
    options.append(Option([plan.program] + plan.arguments, "the program, with its arguments"))
    return options
  }

  /// What only a job on several hosts needs.
  private static func remoteOptions(for plan: LaunchPlan) -> [Option] {
    var options: [Option] = []
    func parameter(_ name: String, _ value: String, _ comment: String) {
      options.append(Option(["--mca", name, value], comment))
    }
    parameter("orte_keep_fqdn_hostnames", "1", "a.x.org and a.y.org are two hosts")
    // Without these a cut cable goes unnoticed for eight minutes.
    parameter("oob_tcp_keepalive_time", "10", "seconds of silence before a host is asked whether it lives")
    parameter("oob_tcp_keepalive_intvl", "5", "seconds between questions")
    parameter("oob_tcp_keepalive_probes", "3", "questions without answer: the host is lost")
    if !plan.networks.isEmpty {
      let list = plan.networks.joined(separator: ",")
      parameter("oob_tcp_if_include", list, "networks between the hosts, for control")
      parameter("btl_tcp_if_include", list, "networks between the hosts, for data")
    }
    if plan.remote.isSlurm { return options }
    parameter("plm_rsh_no_tree_spawn", "1", "hosts are reached from here, not from one another")
    if let shell = plan.remote.shell {
      parameter("plm_rsh_agent", shell, "runs a command on a host")
    } else {
      var words = ["-o BatchMode=yes", "-o ConnectTimeout=10", "-o ServerAliveInterval=5"]
      if let port = plan.remote.port { words.append("-p \(port)") }
      if let identity = plan.remote.identity { words.append("-i \(identity)") }
      parameter("plm_rsh_agent", "ssh", "runs a command on a host")
      parameter("plm_rsh_args", words.joined(separator: " "), "never a password prompt, never a long wait")
    }
    return options
  }

  /// Tells Open MPI which descriptor its messages go to.
  package static let outputVariable = "OPAL_OUTPUT_STDERR_FD"

  /// One option a line, quoted for a shell, each with its comment.
  public static func commented(_ command: String, for plan: LaunchPlan) -> String {
    commented(command, "Open MPI", options(for: plan))
  }

  /// The command `command`, which is `what`, with `options`: one a line, quoted for a shell, each with its comment.
  public static func commented(_ command: String, _ what: String, _ options: [Option]) -> String {
    let lines =
      [(shellQuoted(command), what)]
      + options.map { ("  " + $0.words.map(shellQuoted).joined(separator: " "), $0.comment) }
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
