import System

/// Makes the plan of a job, step by step: first what contradicts itself is refused, then hosts and ranks are found, then
/// what starts them.
struct JobPlanner {
  let request: JobRequest
  let settings: Settings
  let machine: Machine
  /// The path of the program.
  let program: String
  let cluster: ClusterPlan
  /// Ranks that are threads of one process.
  let threadRanks: Int?
  let isSrun: Bool

  init(
    _ request: JobRequest, _ settings: Settings, _ machine: Machine, _ readHostfile: JobPlan.HostfileReader
  ) throws(Failure) {
    self.request = request
    self.settings = settings
    self.machine = machine
    if request.debugRank != nil && request.debugger == nil {
      throw Failure(
        .usage, at: "--debug_rank", "without --debugger, expected the debugger to put in front", hint: "--debugger gdb")
    }
    threadRanks = try Self.threadRanks(request.threadRanks, settings)
    program = try machine.programs.startable(request.command[0])
    cluster = try ClusterPlan(
      settings, cores: machine.cores.usable, isSingleProcess: Programs.isSingleProcess(request.command[0]),
      ownName: machine.names, slurm: try SlurmAllocation(machine.environment), readHostfile: readHostfile)
    isSrun = settings[.starter] == "srun"
    if isSrun && !cluster.isSlurm {
      throw Failure(
        .usage, at: settings.origin(.starter)?.description, "srun outside of a Slurm allocation, expected mpirun")
    }
  }

  private static func threadRanks(_ text: String?, _ settings: Settings) throws(Failure) -> Int? {
    guard let text else { return nil }
    if case .flag? = settings.origin(.processes) {
      throw Failure(.usage, "--num_processes and --in_process contradict each other, expected one of them")
    }
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int(text), 1...1024 ~= count else {
      throw Failure(.usage, at: "--in_process", "\"\(text)\", expected a whole number from 1 to 1024")
    }
    return count
  }

  /// Whether it is one process, which needs no MPI.
  private var isDirect: Bool { threadRanks != nil || (cluster.ranks == 1 && cluster.placement == nil && !isSrun) }

  private var threads: Int {
    if let threadRanks, case .derived = cluster.threadsOrigin {
      return LaunchPlan.defaultThreads(cores: machine.cores.usable, ranks: threadRanks)
    }
    return cluster.threadsPerRank
  }

  private var arguments: [String] { Array(request.command.dropFirst()) }

  /// What comes before the user's arguments: the command of a program that has several, and options of the program that the
  /// launcher's own stand for. The user's win where they say otherwise.
  private var insertedArguments: [String] {
    if Programs.commands[request.command[0]] != nil { return [request.command[0]] }
    guard let steps = settings[.gradientAccumulation], request.command[0] == Programs.standard else { return [] }
    return ["--gradient-accumulation-steps", "\(steps)"]
  }

  /// Whether the output of a job of one process passes through the launcher too, not only its end.
  private var takesOutput: Bool {
    settings[.tee] || settings[.logFolder] != nil || !settings[.ranksFilter].isEmpty
  }

  func plan() throws(Failure) -> JobPlan {
    var debuggedRank: Int?
    var ownNotes: [String] = []
    let start: JobPlan.Start
    if isDirect, let debugger = request.debugger {
      _ = try rank(request.debugRank, of: 1)
      start = .debugger(try words(of: debugger) + [program] + insertedArguments)
    } else {
      let (plan, debugged) = try launchPlan()
      debuggedRank = debugged
      start = try self.start(plan, &ownNotes)
    }
    return JobPlan(
      start: start, arguments: arguments, variables: variables, notes: notes(start) + ownNotes + variableNotes(start),
      settings: settings, threadRanks: threadRanks, debuggedRank: debuggedRank)
  }

  /// What starts the ranks of `plan`, and the plan as that needs it.
  private func start(_ plan: LaunchPlan, _ notes: inout [String]) throws(Failure) -> JobPlan.Start {
    if isDirect { return .directly(plan) }
    let path = try starter()
    var plan = plan
    plan.remote.isSlurm = cluster.isSlurm
    if isSrun { return .srun(path: path, plan) }
    plan.flavour = try machine.programs.flavour(ofMPIRun: path, machine.environment)
    if !plan.flavour.isOpenMPI, machine.programs.isOwn(program) {
      throw Failure(
        .unavailable, at: path, "is \(plan.flavour.rawValue)'s, but \(request.command[0]) is built with Open MPI",
        hint: "name Open MPI's with --mpirun PATH")
    }
    try MPIRunCommand.check(plan)
    plan.adapt(to: machine)
    if plan.isMemoryScarce, let memory = machine.sharedMemory {
      notes.append(
        "\(memory.path) has \(memory.freeBytes >> 20) MB free, too little for MPI's ranks here: they speak over TCP")
    }
    return .mpirun(path: plan.flavour.program(for: path), plan)
  }

  /// The path of what starts the ranks.
  private func starter() throws(Failure) -> String {
    if !isSrun, let path = settings[.mpirun] { return try machine.programs.path(of: path) }
    let name = isSrun ? "srun" : "mpirun"
    guard let starter = machine.programs.find(name) else {
      throw Failure(
        .unavailable, "\(name) is not on the PATH",
        hint: isSrun ? nil : "apt-get install openmpi-bin, or name one with --mpirun")
    }
    // mpirun takes the folder above its own for Open MPI's, and refuses / where /bin is a link to /usr/bin. Its own name
    // stays: what it links to may have another.
    return "\(realPath(String(starter.dropLast(name.count))))/\(name)"
  }

  /// All that does not depend on what starts the ranks, and the rank that a debugger stands in front of.
  private func launchPlan() throws(Failure) -> (LaunchPlan, debuggedRank: Int?) {
    var plan = LaunchPlan(
      program: program, arguments: insertedArguments + arguments, ranks: isDirect ? 1 : cluster.ranks,
      threadsPerRank: threads, cores: machine.cores.usable, isRoot: machine.isRoot,
      exportedVariables: [JobProcesses.variable] + variables.map(\.name) + settings[.export],
      placement: cluster.placement)
    plan.readsInput = Programs.readsInput(request.command[0], arguments)
    plan.hostfilePath = Supervisor.hostfilePath
    plan.binding = settings[.binding] ?? (settings[.cpuAffinity] ? "core" : "none")
    plan.networks = settings[.network]
    plan.workingFolder = settings[.workingFolder]
    plan.output.isTagged = settings[.tee]
    plan.output.folder = settings[.logFolder]
    plan.output.shownRanks = try shownRanks(of: plan.ranks)
    plan.extraArguments = settings[.mpirunArguments]
    if let identity = settings[.sshIdentity], identity.contains(" ") {
      throw Failure(
        .usage, at: Setting.sshIdentity.name, "\"\(identity)\", expected no spaces: Open MPI splits there")
    }
    plan.remote = remote
    if isSrun && request.debugger != nil {
      throw Failure(.usage, at: "--debugger", "with srun, expected mpirun or one process", hint: "--num_processes 1")
    }
    let debugger = try debugger(plan)
    plan.agent = RankAgent.words(
      launcher: machine.launcher, intervalMilliseconds: Int((settings[.monitorInterval] ?? 1) * 1000),
      route: isDirect ? (takesOutput ? .directWithOutput : .direct) : .errors, debugger: debugger)
    return (plan, debugger?.rank)
  }

  /// How other hosts are reached.
  private var remote: LaunchPlan.Remote {
    var remote = LaunchPlan.Remote(
      shell: settings[.remoteShell], port: settings[.sshPort], identity: settings[.sshIdentity])
    // Open MPI's variables know alternatives, and options of ssh.
    if case .variable? = settings.origin(.remoteShell) {
      let choices = (remote.shell ?? "").split(separator: ":").map { $0.split(separator: " ").map(String.init) }
      let found = choices.first { words in
        words.first.map { $0.contains("/") || machine.programs.find($0) != nil } ?? false
      }
      let words = found ?? choices.first ?? []
      remote.shell = words.joined(separator: " ")
      if words.first == "ssh" {
        remote.shell = nil
        remote.options = Array(words.dropFirst())
      }
    }
    if remote.shell == nil, let options = machine.environment["OMPI_MCA_plm_rsh_args"] {
      remote.options += options.split(separator: " ").map(String.init)
    }
    return remote
  }
}

// MARK: Ranks that are named, and variables.

extension JobPlanner {
  /// The ranks of a filter such as `0,2-3`; nil for all.
  private func shownRanks(of ranks: Int) throws(Failure) -> Set<Int>? {
    let items = settings[.ranksFilter]
    if items.isEmpty { return nil }
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

  private func rank(_ text: String?, of ranks: Int) throws(Failure) -> Int {
    guard let text else { return 0 }
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let rank = Int(text), rank < ranks else {
      throw Failure(.usage, at: "--debug_rank", "\"\(text)\", expected a rank from 0 to \(ranks - 1)")
    }
    return rank
  }

  private func words(of debugger: String) throws(Failure) -> [String] {
    let path = try machine.programs.path(of: debugger)
    let name = debugger.split(separator: "/").last.map(String.init) ?? debugger
    return [path] + (name.hasPrefix("gdb") ? ["--args"] : ["--"])
  }

  /// The debugger in front of one of several ranks, which must be on this machine: it uses this terminal.
  private func debugger(_ plan: LaunchPlan) throws(Failure) -> RankAgent.Debugger? {
    guard let name = request.debugger else { return nil }
    let rank = try rank(request.debugRank, of: plan.ranks)
    var next = 0
    for host in plan.placement?.hosts ?? [] {
      next += host.ranks
      guard rank < next else { continue }
      if machine.names.contains(host.entry.name.description) { break }
      throw Failure(
        .usage, at: "--debug_rank", "rank \(rank) runs on host \(host.entry.name), expected a rank of this machine")
    }
    return RankAgent.Debugger(rank: rank, terminal: machine.terminal ?? "", words: try words(of: name))
  }

  private var variables: [(name: String, value: String)] {
    var variables = ["LOCKSTEP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"].map { ($0, "\(threads)") }
    if let core = machine.environment["OPENBLAS_CORETYPE"] { variables.append(("OPENBLAS_CORETYPE", core)) }
    if let precision = settings[.mixedPrecision] { variables.append(("LOCKSTEP_MIXED_PRECISION", precision)) }
    if settings[.debug] { variables.append(("LOCKSTEP_DEBUG", "1")) }
    if let threadRanks { variables.append(("LOCKSTEP_IN_PROCESS", "\(threadRanks)")) }
    if !isDirect || takesOutput, let columns = machine.terminalColumns {
      variables.append(("LOCKSTEP_TERMINAL_COLUMNS", "\(columns)"))
    }
    return variables
  }

  /// What files, hosts and settings have to say.
  private func notes(_ start: JobPlan.Start) -> [String] {
    var notes = (settings.file?.warnings ?? []) + cluster.warnings
    if settings.file != nil {
      for (name, value) in settings.values.sorted(by: { $0.key < $1.key }) {
        notes += value.overridden.map { "\(name) is \(value.value) (\(value.origin)); \($0)" }
      }
    }
    if settings[.gradientAccumulation] != nil && request.command[0] != Programs.standard {
      notes.append(
        "gradient_accumulation_steps has no effect on \(request.command[0]), which has no such option of ours")
    }
    return notes
  }

  /// What others' variables do to the job.
  private func variableNotes(_ start: JobPlan.Start) -> [String] {
    let obeyed = settings.values.values.compactMap { value in
      if case .variable(let name) = value.origin { name } else { nil }
    }
    let arguments = if case .mpirun(_, let plan) = start { MPIRunCommand.arguments(for: plan) } else { [String]() }
    return MPIVariables.notes(
      machine.environment, arguments: arguments, obeyed: obeyed, leftovers: machine.leftovers)
  }
}

extension LaunchPlan {
  /// Sets what depends on how ranks of `machine` can speak with one another.
  mutating func adapt(to machine: Machine) {
    let environment = machine.environment
    isTransportGiven = Self.transportParameters.contains { environment["OMPI_MCA_\($0)"] != nil }
    copiesTwice =
      flavour.isOpenMPI && environment["OMPI_MCA_btl_vader_single_copy_mechanism"] == nil && !machine.readsOtherMemory
    isMemoryScarce = lacksMemory(on: machine)
  }

  /// Whether too little memory is left for MPI to keep what its ranks on `machine` share; not where somebody else decides
  /// how ranks speak.
  private func lacksMemory(on machine: Machine) -> Bool {
    let own = placement?.hosts.first { machine.names.contains("\($0.entry.name)") }
    let ranks = placement == nil ? self.ranks : own?.ranks ?? 0
    guard flavour.isOpenMPI, !isTransportGiven, ranks > 1, placement != nil || choosesMemory else { return false }
    return machine.sharedMemory.map { $0.freeBytes < Machine.sharedBytes(ranks: ranks) } ?? false
  }
}
