import System

/// What a user asks for besides settings: a program, and how it is debugged. Texts as they were typed; the plan checks them.
public struct JobRequest: Sendable {
  /// The program and its arguments; not empty.
  public var command: [String]
  /// How many ranks are threads of one process.
  public var threadRanks: String?
  public var debugger: String?
  public var debugRank: String?

  public init(_ command: [String], threadRanks: String? = nil, debugger: String? = nil, debugRank: String? = nil) {
    self.command = command
    self.threadRanks = threadRanks
    self.debugger = debugger
    self.debugRank = debugRank
  }
}

/// A job as it is about to start: a value that follows from the request, the settings and facts of the machine, and from
/// which the command follows. Nothing is started to make it but `mpirun --version`.
public struct JobPlan: Sendable {
  public enum Start: Sendable, Equatable {
    /// As one process, which a debugger becomes: its words with the program's path.
    case debugger([String])
    /// As one process.
    case directly(LaunchPlan)
    case mpirun(path: String, LaunchPlan)
    case srun(path: String, LaunchPlan)
  }

  public var start: Start
  /// The program's arguments as the user gave them.
  public var arguments: [String]
  /// Variables that the program gets, besides those that it inherits.
  public var variables: [(name: String, value: String)]
  /// What the user should know before it starts.
  public var notes: [String]
  public var settings: Settings
  /// Ranks that are threads of one process.
  public var threadRanks: Int?
  /// The rank that a debugger stands in front of, where there are several.
  public var debuggedRank: Int?

  /// Reads the file at a path as a hostfile, on a machine with these names.
  public typealias HostfileReader = (String, LocalHostNames?) throws(Failure) -> Hostfile

  /// Plans the job that `request` asks for.
  ///
  /// - Throws: `.usage` for what contradicts itself, `.missingInput` for a program that is not there, `.configuration` for
  ///   hosts that do not fit, `.unavailable` where MPI is missing or of another kind.
  public init(
    _ request: JobRequest, _ settings: Settings, on machine: Machine,
    readHostfile: HostfileReader = { (path, own) throws(Failure) in try Hostfile(path: path, ownName: own) }
  ) throws(Failure) {
    self = try JobPlanner(request, settings, machine, readHostfile).plan()
  }

  init(
    start: Start, arguments: [String], variables: [(name: String, value: String)], notes: [String],
    settings: Settings, threadRanks: Int?, debuggedRank: Int?
  ) {
    self.start = start
    self.arguments = arguments
    self.variables = variables
    self.notes = notes
    self.settings = settings
    self.threadRanks = threadRanks
    self.debuggedRank = debuggedRank
  }

  /// Whether nothing but errors is said.
  public var isQuiet: Bool { settings[.quiet] }

  /// The whole argument vector, the path of what is started first.
  public var command: [String] {
    switch start {
    case .debugger(let words): words + arguments
    case .directly(let plan): Self.direct(plan)
    case .mpirun(let path, let plan): [path] + MPIRunCommand.arguments(for: plan)
    case .srun(let path, let plan): [path] + SrunCommand.arguments(for: plan)
    }
  }

  /// One process under its agent.
  static func direct(_ plan: LaunchPlan) -> [String] { plan.agent + [plan.program] + plan.arguments }

  /// The command as `--dry-run` prints it: variables, the hostfile, and an option a line with its comment.
  public var dryRunText: String {
    let text = variables.map { "\($0.name)=\(shellShown($0.value))\n" }.joined()
    switch start {
    case .debugger(let words):
      return text + (words + arguments).map(shellShown).joined(separator: " ") + "\n"
    case .directly(let plan):
      return text + ([plan.program] + plan.arguments).map(shellShown).joined(separator: " ") + "\n"
    case .mpirun(let path, let plan):
      let hosts = MPIRunCommand.hostfile(for: plan).map { hostfile in
        "# the hostfile \(plan.hostfilePath):\n"
          + hostfile.split(separator: "\n").map { "#   \($0)\n" }.joined()
      }
      let own = MPIRunCommand.variables(for: plan).map { "\($0.name)=\(shellShown($0.value))\n" }.joined()
      return text + own + (hosts ?? "") + MPIRunCommand.commented(path, for: plan)
    case .srun(let path, let plan):
      return text + MPIRunCommand.commented(path, "Slurm", SrunCommand.options(for: plan))
    }
  }
}
