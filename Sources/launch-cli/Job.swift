import Glibc
import Launcher
import System

/// A job as it is about to start.
struct Job {
  enum Start {
    /// As one process, which a debugger becomes.
    case debugger([String])
    /// As one process.
    case directly(LaunchPlan)
    case mpirun(path: String, LaunchPlan)
    case srun(path: String, LaunchPlan)
  }

  let context: LaunchContext
  let start: Start
  let arguments: [String]
  /// Options that the launcher's own stand for, in front of `arguments`, which win where they say otherwise.
  let insertedArguments: [String]
  /// Variables that the program gets, besides those that it inherits.
  let variables: [(name: String, value: String)]
  private(set) var warnings: [String]
  /// Whether nothing but errors is said.
  var isQuiet: Bool { settings.boolean("quiet") }
  let settings: Settings
  /// Ranks that are threads of one process.
  private let threadRanks: Int?
  /// The rank that a debugger stands in front of, where there are several.
  private var debugged: Int?

  init(
    context: LaunchContext, settings: Settings, threadRanks: String?, debugger: String?, debugRank: String?,
    command: [String]
  ) throws(Failure) {
    self.context = context
    self.settings = settings
    if debugRank != nil && debugger == nil {
      throw Failure(
        .usage, at: "--debug_rank", "without --debugger, expected the debugger to put in front", hint: "--debugger gdb")
    }
    let threadRankCount = try Self.threadRanks(threadRanks, settings)
    self.threadRanks = threadRankCount
    let path = try context.programs.startable(command[0])
    let cluster = try ClusterPlan(
      settings, cores: context.cores.usable, isSingleProcess: Programs.isSingleProcess(command[0]),
      ownName: context.ownNames, slurm: try SlurmAllocation { context.environment[$0] })
    let isSrun = settings.text("launcher") == "srun"
    if isSrun && !cluster.isSlurm {
      throw Failure(
        .usage, at: settings.origin("launcher")?.description, "srun outside of a Slurm allocation, expected mpirun")
    }
    let isDirect = threadRankCount != nil || (cluster.ranks == 1 && cluster.placement == nil && !isSrun)
    var threads = cluster.threadsPerRank
    if let threadRankCount, case .derived = cluster.threadsOrigin {
      threads = LaunchPlan.defaultThreads(cores: context.cores.usable, ranks: threadRankCount)
    }
    arguments = Array(command.dropFirst())
    if let steps = settings.integer("gradient_accumulation_steps"), command[0] == Programs.standard {
      insertedArguments = ["--gradient-accumulation-steps", "\(steps)"]
    } else if Programs.commands[command[0]] != nil {
      insertedArguments = [command[0]]
    } else {
      insertedArguments = []
    }
    var notes = (settings.file?.warnings ?? []) + cluster.warnings
    if settings.file != nil {
      for (name, value) in settings.values.sorted(by: { $0.key < $1.key }) {
        notes += value.overridden.map { "\(name) is \(value.value) (\(value.origin)); \($0)" }
      }
    }
    if settings.integer("gradient_accumulation_steps") != nil && command[0] != Programs.standard {
      notes.append("gradient_accumulation_steps has no effect on \(command[0]), which has no such option of ours")
    }
    warnings = notes
    var variables = Self.variables(settings, threads: threads, environment: context.environment)
    if let threadRankCount { variables.append(("LOCKSTEP_IN_PROCESS", "\(threadRankCount)")) }
    if !isDirect || Self.takesOutput(settings), let columns = Self.terminalColumns() {
      variables.append(("LOCKSTEP_TERMINAL_COLUMNS", "\(columns)"))
    }
    self.variables = variables
    if isDirect && debugger != nil {
      _ = try Self.rank(debugRank, of: 1)
      warnings += Self.notes(settings, context, arguments: [])
      start = .debugger(try Self.debuggerWords(debugger, context) + [path] + insertedArguments)
      return
    }
    var plan = LaunchPlan(
      program: path, arguments: insertedArguments + arguments, ranks: isDirect ? 1 : cluster.ranks,
      threadsPerRank: threads, cores: context.cores.usable,
      isRoot: geteuid() == 0, exportedVariables: [JobProcesses.variable] + variables.map(\.0) + settings.list("export"),
      placement: cluster.placement)
    try Self.complete(&plan, settings)
    plan.readsInput = Programs.readsInput(command[0], arguments)
    plan.remote = Self.remote(settings, context)
    if isSrun && debugger != nil {
      throw Failure(.usage, at: "--debugger", "with srun, expected mpirun or one process", hint: "--num_processes 1")
    }
    let keptDebugger = try Self.debugger(debugger, rank: debugRank, plan, context)
    debugged = keptDebugger?.rank
    plan.keeper = Keeper.words(
      launcher: context.launcher, intervalMilliseconds: Int((settings.decimal("monitor_interval") ?? 1) * 1000),
      way: isDirect ? (Self.takesOutput(settings) ? .directWithOutput : .direct) : .errors, debugger: keptDebugger)
    if isDirect {
      warnings += Self.notes(settings, context, arguments: [])
      start = .directly(plan)
      return
    }
    let starter = try Self.starter(settings, context, isSrun: isSrun)
    plan.remote.isSlurm = cluster.isSlurm
    if !isSrun {
      plan.flavour = try MPIFlavour(mpirun: starter, environment: context.environment)
      if !plan.flavour.isOpenMPI, context.programs.isOwn(path) {
        throw Failure(
          .unavailable, at: starter, "is \(plan.flavour.rawValue)'s, but \(command[0]) is built with Open MPI",
          hint: "name Open MPI's with --mpirun PATH")
      }
      try MPIRunCommand.check(plan)
      plan = Self.fitted(plan, context)
      warnings += Self.scarcity(plan, context)
    }
    warnings += Self.notes(settings, context, arguments: isSrun ? [] : MPIRunCommand.arguments(for: plan))
    start = isSrun ? .srun(path: starter, plan) : .mpirun(path: plan.flavour.program(for: starter), plan)
  }

  /// Whether the output of a job of one process passes through the launcher too, not only its end.
  private static func takesOutput(_ settings: Settings) -> Bool {
    settings.boolean("tee") || settings.text("log_dir") != nil || !settings.list("local_ranks_filter").isEmpty
  }

  /// The path of what starts the ranks.
  private static func starter(_ settings: Settings, _ context: LaunchContext, isSrun: Bool) throws(Failure) -> String {
    if !isSrun, let path = settings.text("mpirun") { return try context.programs.path(of: path) }
    let name = isSrun ? "srun" : "mpirun"
    guard let starter = context.programs.find(name) else {
      throw Failure(
        .unavailable, "\(name) is not on the PATH",
        hint: isSrun ? nil : "apt-get install openmpi-bin, or name one with --mpirun")
    }
    // mpirun takes the folder above its own for Open MPI's, and refuses / where /bin is a link to /usr/bin. Its own name
    // stays: what it links to may have another.
    return "\(realPath(String(starter.dropLast(name.count))))/\(name)"
  }

  private static func complete(_ plan: inout LaunchPlan, _ settings: Settings) throws(Failure) {
    plan.hostfilePath = Supervisor.hostfilePath
    plan.binding = settings.text("binding") ?? (settings.boolean("enable_cpu_affinity") ? "core" : "none")
    plan.networks = settings.list("network")
    plan.workingFolder = settings.text("working_folder")
    plan.output.isTagged = settings.boolean("tee")
    plan.output.folder = settings.text("log_dir")
    let filter = settings.list("local_ranks_filter")
    if !filter.isEmpty { plan.output.shownRanks = try shownRanks(filter, of: plan.ranks) }
    plan.extraArguments = settings.list("mpirun_arguments")
    if let identity = settings.text("ssh_identity"), identity.contains(" ") {
      throw Failure(.usage, at: "ssh_identity", "\"\(identity)\", expected no spaces: Open MPI splits there")
    }
  }

  /// The ranks of a filter such as `0,2-3`.
  private static func shownRanks(_ items: [String], of ranks: Int) throws(Failure) -> Set<Int> {
    var shown: Set<Int> = []
    for item in items {
      let ends = item.split(separator: "-", omittingEmptySubsequences: false)
      let numbers = ends.compactMap { end in end.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(end) : nil }
      guard numbers.count == ends.count, let first = numbers.first, let last = numbers.last, ends.count <= 2,
        first <= last, last < ranks
      else {
        throw Failure(
          .usage, at: "--local_ranks_filter", "\"\(item.shortened)\", expected ranks from 0 to \(ranks - 1), as 0,2-3")
      }
      shown.formUnion(first...last)
    }
    return shown
  }

  private static func rank(_ text: String?, of ranks: Int) throws(Failure) -> Int {
    guard let text else { return 0 }
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let rank = Int(text), rank < ranks else {
      throw Failure(.usage, at: "--debug_rank", "\"\(text)\", expected a rank from 0 to \(ranks - 1)")
    }
    return rank
  }

  /// The debugger in front of one of several ranks, which must be on this machine: it uses this terminal.
  private static func debugger(
    _ name: String?, rank text: String?, _ plan: LaunchPlan, _ context: LaunchContext
  ) throws(Failure) -> Keeper.Debugger? {
    guard let name else { return nil }
    let rank = try rank(text, of: plan.ranks)
    var next = 0
    for host in plan.placement?.hosts ?? [] {
      next += host.ranks
      guard rank < next else { continue }
      if context.ownNames.contains(host.entry.name.description) { break }
      throw Failure(
        .usage, at: "--debug_rank", "rank \(rank) runs on host \(host.entry.name), expected a rank of this machine")
    }
    let terminal = isatty(STDIN_FILENO) == 1 ? ttyname(STDIN_FILENO).map { String(cString: $0) } : nil
    return Keeper.Debugger(rank: rank, terminal: terminal ?? "", words: try debuggerWords(name, context))
  }

  private static func threadRanks(_ text: String?, _ settings: Settings) throws(Failure) -> Int? {
    guard let text else { return nil }
    if case .flag? = settings.origin("num_processes") {
      throw Failure(.usage, "--num_processes and --in_process contradict each other, expected one of them")
    }
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int(text), 1...1024 ~= count else {
      throw Failure(.usage, at: "--in_process", "\"\(text)\", expected a whole number from 1 to 1024")
    }
    return count
  }

  private static func debuggerWords(_ debugger: String?, _ context: LaunchContext) throws(Failure) -> [String] {
    guard let debugger else { return [] }
    let path = try context.programs.path(of: debugger)
    let name = debugger.split(separator: "/").last.map(String.init) ?? debugger
    return [path] + (name.hasPrefix("gdb") ? ["--args"] : ["--"])
  }

  private static func variables(
    _ settings: Settings, threads: Int, environment: Environment
  ) -> [(name: String, value: String)] {
    var variables = ["LOCKSTEP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"].map { ($0, "\(threads)") }
    if let core = environment["OPENBLAS_CORETYPE"] { variables.append(("OPENBLAS_CORETYPE", core)) }
    if let precision = settings.text("mixed_precision") { variables.append(("LOCKSTEP_MIXED_PRECISION", precision)) }
    if settings.boolean("debug") { variables.append(("LOCKSTEP_DEBUG", "1")) }
    return variables
  }

  /// Columns of the terminal that shows the ranks' output; nil where it goes elsewhere.
  private static func terminalColumns() -> Int? {
    var size = winsize()
    guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 else { return nil }
    return size.ws_col > 0 ? min(max(Int(size.ws_col), 20), 1000) : 80
  }

  /// The command as `--dry-run` prints it.
  var description: String {
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

  /// Runs the job and ends this process with its status.
  ///
  /// - Parameter verbatim: the program's arguments as the bytes that they came in.
  func start(verbatim: [[UInt8]]) throws(Failure) -> Never {
    var environment = ForeignVariables.withheld(from: context.environment, arguments: [])
    environment["LOCKSTEP_TERMINAL_COLUMNS"] = nil
    environment["LOCKSTEP_IN_PROCESS"] = nil
    for (name, value) in variables { environment[name] = value }
    switch start {
    case .debugger(let words):
      throw execute(path: words[0], arguments: words.map { Array($0.utf8) } + verbatim, environment: environment)
    case .directly(let plan):
      try supervise(plan, .launcher, verbatim, environment) { $0.keeper + [$0.program] + $0.arguments }
    case .mpirun(let path, let plan):
      try checkSurroundings(plan, environment)
      let plan = try checkedHosts(of: plan, mpirun: path, environment)
      environment = Self.environment(for: plan, environment)
      for (name, value) in MPIRunCommand.variables(for: plan) { environment[name] = value }
      try supervise(plan, .mpirun, verbatim, environment) { [path] + MPIRunCommand.arguments(for: $0) }
    case .srun(let path, let plan):
      try checkSurroundings(plan, environment)
      // The plan says how many there are; srun would complain that this does not fit.
      environment["SLURM_NTASKS_PER_NODE"] = nil
      try supervise(plan, .srun, verbatim, environment) { [path] + SrunCommand.arguments(for: $0) }
    }
  }

  /// Runs the job, again where that is wanted and may help, and ends this process with its status.
  ///
  /// - Parameter command: the whole vector for a plan.
  private func supervise(
    _ plan: LaunchPlan, _ starter: Supervisor.Starter, _ verbatim: [[UInt8]], _ environment: Environment,
    command: (LaunchPlan) -> [String]
  ) throws(Failure) -> Never {
    var plan = plan
    let most = settings.integer("max_restarts") ?? 0
    for attempt in 0... {
      let verdict = try supervisor(plan, starter).run(
        command(plan).dropLast(arguments.count).map { Array($0.utf8) } + verbatim, environment: environment,
        hostfile: MPIRunCommand.hostfile(for: plan))
      if let message = verdict.message { say("error: \(message)") }
      guard attempt < most, verdict.isWorthRestarting else {
        if attempt > 0 && verdict.status != 0 && attempt == most { say("no restart is left of --max_restarts \(most)") }
        exit(verdict.status)
      }
      if let host = verdict.lostHost, settings.boolean("exclude_lost_hosts") {
        guard let rest = plan.without(host: host) else { exit(verdict.status) }
        plan = rest
        say("host \(host) is left out: \(plan.ranks) ranks from now on, and so a smaller global batch")
      }
      // It grows, for what is down needs time to come up.
      let seconds = 1 << min(attempt, 6)
      say("restart \(attempt + 1) of \(most) in \(seconds) s")
      if let signal = try Supervisor.pause(seconds: Double(seconds)) { exit(128 + signal) }
    }
    fatalError("an endless range has ended")
  }

  func supervisor(_ plan: LaunchPlan, _ starter: Supervisor.Starter) -> Supervisor {
    var supervisor = Supervisor(
      launcher: context.launcher, runID: JobProcesses.newRunID(), ranks: plan.ranks, say: say)
    supervisor.starter = starter
    supervisor.threadRanks = threadRanks ?? 1
    // Hydra ends the others only if the rank has called MPI_Init.
    if !plan.flavour.isOpenMPI { supervisor.failureSeconds = 1 }
    supervisor.hosts = (plan.placement?.hosts ?? []).flatMap { host in
      Array(repeating: host.entry.name.description, count: host.ranks)
    }
    supervisor.isOnThisHostAlone = plan.placement == nil
    if starter == .mpirun { supervisor.shortage = Shortage.find(context.environment) }
    supervisor.output = plan.output
    supervisor.debuggedRank = debugged
    let timeout = settings.decimal("stall_timeout")
    // A lone process waits for nobody, and a person may hold it with a debugger: it is watched where that is asked for.
    let isAlone = starter == .launcher
    let isWatched = timeout != 0 && debugged == nil && (!isAlone || timeout != nil)
    supervisor.watchdog = isWatched ? Watchdog(timeoutSeconds: timeout, isAlone: isAlone) : nil
    return supervisor
  }
}
