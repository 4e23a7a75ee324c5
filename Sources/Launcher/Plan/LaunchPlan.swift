/// Everything that decides how a job starts; `MPIRunCommand` turns it into an argument vector.
public struct LaunchPlan: Sendable, Equatable {
  /// Whose `mpirun` starts it.
  public var flavour = MPIFlavour.openMPI4
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
  /// The hosts; nil where all ranks are on this machine.
  public var placement: Placement?
  /// Where mpirun reads the hostfile that is written from `placement`.
  public var hostfilePath = ""
  /// What a rank is bound to: none, core, socket, numa.
  public var binding = "none"
  /// Networks (10.0.0.0/24) or interfaces (eth0) between the hosts.
  public var networks: [String] = []
  /// Whether a variable tells MPI how ranks speak with one another.
  public var isTransportGiven = false
  /// Whether ranks of this host speak over TCP, for lack of memory that they can share.
  public var isMemoryScarce = false
  /// Whether ranks cannot read one another's memory, and copy through memory that they share.
  public var copiesTwice = false
  public var remote = Remote()
  /// The folder that ranks start in; nil for the present one.
  public var workingFolder: String?
  /// What becomes of the ranks' output.
  public var output = JobOutput.Options()
  /// The words in front of the program that make the launcher's binary its agent; empty where there is none.
  public var agent: [String] = []
  /// Whether rank 0 gets what comes in; no rank does otherwise.
  public var readsInput = false
  var inputComment: String { readsInput ? "rank 0 reads the input" : "no rank reads the terminal" }
  /// Further arguments of mpirun.
  public var extraArguments: [String] = []

  /// How the other hosts are reached.
  public struct Remote: Sendable, Equatable {
    /// The program that runs a command on a host; nil for ssh.
    public var shell: String?
    public var port: Int?
    /// Path of a private key.
    public var identity: String?
    /// Further options of ssh.
    public var options: [String] = []
    /// Whether Slurm starts Open MPI's helpers on the hosts, and no remote shell is needed.
    public var isSlurm = false

    public init(shell: String? = nil, port: Int? = nil, identity: String? = nil) {
      self.shell = shell
      self.port = port
      self.identity = identity
    }

    /// What ssh is told: never to ask for a password, and not to wait long.
    var sshOptions: [String] {
      var words = ["-o BatchMode=yes", "-o ConnectTimeout=10", "-o ServerAliveInterval=5"]
      if let port { words.append("-p \(port)") }
      if let identity { words.append("-i \(identity)") }
      return words + options
    }
  }

  public init(
    program: String, arguments: [String] = [], ranks: Int, threadsPerRank: Int = 1, cores: Int, isRoot: Bool = false,
    exportedVariables: [String] = [], placement: Placement? = nil
  ) {
    self.program = program
    self.arguments = arguments
    self.ranks = ranks
    self.threadsPerRank = threadsPerRank
    self.cores = cores
    self.isRoot = isRoot
    self.exportedVariables = exportedVariables
    self.placement = placement
  }

  /// Whether there are more ranks than cores: Open MPI must be told to allow it. With a hostfile the slots decide.
  public var isOversubscribed: Bool { placement == nil && ranks > cores }

  /// Whether a rank that waits takes the core from one that works, unless told not to.
  var mustYield: Bool { placement == nil && ranks * threadsPerRank > cores }

  /// Whether Open MPI is told to use memory only: all ranks are on this host, and nobody else says how they speak. Its search
  /// for networks takes 0.2 s at each start.
  public var choosesMemory: Bool {
    placement == nil && !isTransportGiven && !extraArguments.contains { Self.transportParameters.contains($0) }
  }

  /// Whether hosts differ by their domains alone. Elsewhere Open MPI goes by what stands before the first dot, for a host may
  /// call itself by a longer or a shorter name than the hostfile does.
  var keepsDomains: Bool {
    let names = (placement?.hosts ?? []).map { $0.entry.name.folded }
    // Of an address nothing is cut.
    let hosts = names.filter { $0.utf8.contains { !(0x30...0x39).contains($0) && $0 != UInt8(ascii: ".") } }
    return Set(hosts.map { $0.prefix { $0 != "." } }).count < Set(hosts).count
  }

  /// Parameters of Open MPI that decide it.
  public static let transportParameters: Set = ["pml", "btl", "mtl"]

  /// This plan on the other hosts, with their ranks only; nil where nothing is left.
  public func without(host name: String) -> LaunchPlan? {
    guard let placement else { return nil }
    var plan = self
    let hosts = placement.hosts.filter { $0.entry.name.description != name }
    plan.placement = Placement(hosts: hosts)
    plan.ranks = plan.placement?.ranks ?? 0
    return plan.ranks > 0 && plan.ranks < ranks ? plan : nil
  }

  /// The most ranks of a job.
  public static let mostRanks = 65_536

  /// Ranks when nobody says how many: one a core, up to four.
  public static func defaultRanks(cores: Int) -> Int { min(max(cores, 1), 4) }

  /// Threads of a rank when nobody says how many: the cores dealt out evenly.
  public static func defaultThreads(cores: Int, ranks: Int) -> Int { max(1, cores / max(ranks, 1)) }
}
