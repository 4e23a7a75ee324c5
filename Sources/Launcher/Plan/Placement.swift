import System

/// Which hosts take how many ranks.
public struct Placement: Sendable, Equatable {
  public struct Host: Sendable, Equatable {
    public var entry: HostEntry
    /// Ranks that run there.
    public var ranks: Int
    /// What mpirun calls it, where that is not the name in the hostfile.
    public var nameForMPI: String?

    public init(entry: HostEntry, ranks: Int) {
      self.entry = entry
      self.ranks = ranks
    }
  }

  /// Hosts that get at least one rank, in the order of the file.
  public var hosts: [Host]

  public init(hosts: [Host]) { self.hosts = hosts }

  public var ranks: Int { hosts.reduce(0) { $0 + $1.ranks } }

  /// Fills the hosts' slots in order with `ranks` ranks; all slots where nil.
  ///
  /// - Parameters:
  ///   - defaultSlots: slots of a host whose entry gives none.
  ///   - path: the hostfile, for the error.
  public init(_ entries: [HostEntry], ranks: Int?, defaultSlots: Int = 1, path: String) throws(Failure) {
    let slots = entries.map { $0.slots ?? defaultSlots }
    let total = slots.reduce(0, +)
    let wanted = ranks ?? total
    guard wanted <= total else {
      throw Failure(
        .usage, "\(wanted) ranks, but \(path) has \(counted(total, "slot")) on \(counted(entries.count, "host"))",
        hint: "raise slots= there, or start at most \(total)")
    }
    guard wanted <= LaunchPlan.mostRanks else {
      throw Failure(
        .configuration, at: path, "\(wanted) ranks, expected at most \(LaunchPlan.mostRanks)",
        hint: "fewer slots, or --num_processes")
    }
    var left = wanted
    hosts = []
    for (entry, slots) in zip(entries, slots) where left > 0 {
      hosts.append(Host(entry: entry, ranks: min(slots, left)))
      left -= min(slots, left)
    }
  }

  /// The hostfile that mpirun is given.
  public var hostfile: String {
    hosts.map { host in
      var line = "\(host.nameForMPI ?? "\(host.entry.name)") slots=\(host.ranks)"
      if let user = host.entry.user { line += " username=\(user)" }
      if let port = host.entry.port { line += " port=\(port)" }
      return line + "\n"
    }.joined()
  }
}
