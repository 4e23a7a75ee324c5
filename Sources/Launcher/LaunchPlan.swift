/// Everything that decides how a job starts; `MPIRunCommand` turns it into an argument vector.
public struct LaunchPlan: Sendable, Equatable {
  /// Path of the program, with a slash in it.
  public var program: String
  /// The program's arguments, verbatim.
  public var arguments: [String]
  /// Ranks over all hosts.
  public var ranks: Int
  /// Threads of each rank.
  public var threadsPerRank: Int
  /// Cores of this machine that the job may use.
  public var cores: Int
  /// Whether the job starts as root, which Open MPI refuses unless told.
  public var isRoot: Bool
  /// Names of the environment variables that the ranks get, besides what they inherit.
  public var exportedVariables: [String]

  public init(
    program: String, arguments: [String] = [], ranks: Int, threadsPerRank: Int = 1, cores: Int, isRoot: Bool = false,
    exportedVariables: [String] = []
  ) {
    self.program = program
    self.arguments = arguments
    self.ranks = ranks
    self.threadsPerRank = threadsPerRank
    self.cores = cores
    self.isRoot = isRoot
    self.exportedVariables = exportedVariables
  }

  /// Whether there are more ranks than cores: Open MPI must be told to allow it.
  public var isOversubscribed: Bool { ranks > cores }

  /// Ranks when nobody says how many: one a core, up to four.
  public static func defaultRanks(cores: Int) -> Int { min(max(cores, 1), 4) }

  /// Threads of a rank when nobody says how many: the cores dealt out evenly.
  public static func defaultThreads(cores: Int, ranks: Int) -> Int { max(1, cores / max(ranks, 1)) }
}
