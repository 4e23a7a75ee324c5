import System

/// From settings to hosts and ranks.
public struct ClusterPlan: Sendable, Equatable {
  /// nil where all ranks are on this machine.
  public var placement: Placement?
  public var ranks: Int
  public var threadsPerRank: Int
  public var ranksOrigin: Origin
  public var threadsOrigin: Origin
  public var warnings: [String] = []
  /// Whether the hosts are those of a Slurm allocation.
  public var isSlurm = false

  /// - Parameters:
  ///   - cores: cores of this machine that may be used.
  ///   - isSingleProcess: whether the program is a tool of one process by nature.
  public init(
    _ settings: Settings, cores: Int, isSingleProcess: Bool, ownName own: LocalHostNames?,
    slurm: SlurmAllocation? = nil,
    readHostfile: JobPlan.HostfileReader = { (path, own) throws(Failure) in try Hostfile(path: path, ownName: own) }
  ) throws(Failure) {
    if let path = settings[.hostfile],
      !Self.isForeign(settings.origin(.hostfile), isSingleProcess, slurm)
    {
      let hostfile = try readHostfile(path, own)
      try self.init(settings, hosts: hostfile.entries, path: path, cores: cores)
      warnings = hostfile.warnings
    } else if let slurm, !isSingleProcess {
      try self.init(settings, hosts: slurm.hosts, path: "the Slurm allocation", cores: cores)
      isSlurm = true
      if case .derived = threadsOrigin, let cpus = slurm.cpusPerTask {
        (threadsPerRank, threadsOrigin) = (cpus, .variable("SLURM_CPUS_PER_TASK"))
      } else if case .derived = threadsOrigin, let cpus = slurm.leastCPUsPerTask, cpus < threadsPerRank {
        (threadsPerRank, threadsOrigin) = (cpus, .derived("SLURM_JOB_CPUS_PER_NODE and the tasks of a host"))
      }
      // All on this machine: no host list, no helpers.
      if let only = placement?.hosts.first?.entry.name, placement?.hosts.count == 1,
        slurm.isHere(only) || own?.contains(only.description) ?? false
      {
        placement = nil
      }
    } else {
      try self.init(onThisMachine: settings, cores: cores, isSingleProcess: isSingleProcess)
    }
    let hosts = placement?.hosts.map { host in
      var host = host
      // Slurm has told mpirun its own names.
      host.nameForMPI = isSlurm ? nil : own?.nameForMPI(host.entry.name.description)
      return host
    }
    placement = hosts.map { Placement(hosts: $0) }
  }

  /// Whether a hostfile that somebody else has named, in a variable of Open MPI's, is not meant: Slurm knows better, and a
  /// tool of one process needs none.
  private static func isForeign(_ origin: Origin?, _ isSingleProcess: Bool, _ slurm: SlurmAllocation?) -> Bool {
    guard case .variable(let name)? = origin, !name.hasPrefix("LOCKSTEP_") else { return false }
    return isSingleProcess || slurm != nil
  }

  private init(onThisMachine settings: Settings, cores: Int, isSingleProcess: Bool) throws(Failure) {
    if let machines = settings[.machines], machines > 1 {
      throw Failure(
        .configuration, at: settings.origin(.machines)?.description,
        "\(machines) machines, but nothing says which, expected a hostfile",
        hint: "--mpirun_hostfile FILE with a line `host slots=N` for each")
    }
    for setting in [Setting.include, .exclude] where !settings[setting].isEmpty {
      throw Failure(
        .configuration, at: settings.origin(setting)?.description,
        "\(setting.name) chooses among hosts, but there is no hostfile")
    }
    placement = nil
    if let given = settings[.processes], let origin = settings.origin(.processes) {
      (ranks, ranksOrigin) = (given, origin)
    } else if settings.file?.distributedType == "NO" || isSingleProcess {
      (ranks, ranksOrigin) = (
        1, .derived(isSingleProcess ? "the program, one process by nature" : "distributed_type: NO")
      )
    } else if let given = settings[.ranksPerHost], let origin = settings.origin(.ranksPerHost) {
      (ranks, ranksOrigin) = (given, origin)
    } else {
      (ranks, ranksOrigin) = (
        LaunchPlan.defaultRanks(cores: cores), .derived("\(counted(cores, "core")), at most 4 ranks")
      )
    }
    (threadsPerRank, threadsOrigin) = Self.threads(settings, cores: cores, ranks: ranks)
  }

  private init(_ settings: Settings, hosts: [HostEntry], path: String, cores: Int) throws(Failure) {
    var hosts = try Self.chosen(hosts, settings, path)
    if let machines = settings[.machines] {
      guard machines <= hosts.count else {
        throw Failure(
          .configuration, at: settings.origin(.machines)?.description,
          "\(machines) machines, but \(path) has \(counted(hosts.count, "host")) to use")
      }
      hosts = Array(hosts[..<machines])
    }
    let given = settings[.processes]
    let open = hosts.count { $0.slots == nil }
    if let perHost = settings[.ranksPerHost] {
      for index in hosts.indices where hosts[index].slots == nil { hosts[index].slots = perHost }
    } else if open == hosts.count, let given {
      // No line has slots: dealt out evenly, the first hosts taking what is over.
      for index in hosts.indices { hosts[index].slots = given / hosts.count + (index < given % hosts.count ? 1 : 0) }
      hosts.removeAll { $0.slots == 0 }
    } else if open > 0, let host = hosts.first(where: { $0.slots == nil }) {
      throw Failure(
        .configuration, at: "\(path):\(host.line)", "host \(host.name) has no slots, expected slots=N",
        hint: open == hosts.count
          ? "or --num_processes for all hosts together, or --ranks_per_host" : "as the others have")
    }
    let total = hosts.reduce(0) { $0 + ($1.slots ?? 0) }
    if let given, given != total, case .file(let file, let line)? = settings.origin(.processes) {
      throw Failure(
        .configuration, at: "\(file):\(line)", "num_processes is \(given), but \(path) has \(counted(total, "slot"))",
        hint: "make them agree, or leave out num_processes")
    }
    let placement = try Placement(hosts, ranks: given, path: path)
    self.placement = placement
    ranks = placement.ranks
    ranksOrigin = settings.origin(.processes) ?? .derived("the slots of \(path)")
    (threadsPerRank, threadsOrigin) = Self.threads(
      settings, cores: cores, ranks: placement.hosts.map(\.ranks).max() ?? 1)
  }

  private static func threads(_ settings: Settings, cores: Int, ranks: Int) -> (Int, Origin) {
    if let given = settings[.threads], let origin = settings.origin(.threads) { return (given, origin) }
    return (
      LaunchPlan.defaultThreads(cores: cores, ranks: ranks),
      .derived("\(counted(cores, "core")) here and \(counted(ranks, "rank")) a host")
    )
  }

  private static func chosen(
    _ hosts: [HostEntry], _ settings: Settings, _ path: String
  ) throws(Failure) -> [HostEntry] {
    let known = hosts.map(\.name.description)
    for setting in [Setting.include, .exclude] {
      for host in settings[setting] where !known.contains(host) {
        throw Failure(
          .configuration, at: settings.origin(setting)?.description, "host \"\(host.shortened)\" is not in \(path)",
          hint: nearest(to: host, among: known).map { "did you mean \($0)?" })
      }
    }
    let included = settings[.include]
    let excluded = settings[.exclude]
    let chosen = hosts.filter {
      (included.isEmpty || included.contains($0.name.description)) && !excluded.contains($0.name.description)
    }
    guard !chosen.isEmpty else {
      throw Failure(.configuration, at: settings.origin(.exclude)?.description, "leaves no host of \(path)")
    }
    return chosen
  }
}
