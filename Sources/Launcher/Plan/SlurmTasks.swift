/// Who gets how much of an allocation.
extension SlurmAllocation {
  /// Deals `tasks` to the hosts as srun does: one to each, and the rest in order, up to what each host takes. Of
  /// `-N 2 -n 3 --ntasks-per-node=2` only `SLURM_NTASKS` knows that they are three.
  mutating func deal(tasks: Int) {
    let total = hosts.reduce(0) { $0 + ($1.slots ?? 0) }
    guard tasks != total else { return }
    guard tasks < total else {
      // More than the counts by host say: evenly, the first hosts taking what is over.
      for index in hosts.indices { hosts[index].slots = tasks / hosts.count + (index < tasks % hosts.count ? 1 : 0) }
      return
    }
    hosts = Array(hosts.prefix(tasks))
    var left = tasks - hosts.count
    for index in hosts.indices {
      let more = min((hosts[index].slots ?? 1) - 1, left)
      hosts[index].slots = 1 + more
      left -= more
    }
  }

  /// The fewest CPUs that a task has on any host, where the hosts' CPUs are `counts`.
  func leastCPUs(_ counts: [Int]) -> Int? {
    let counts = counts.count == 1 ? Array(repeating: counts[0], count: hosts.count) : counts
    return zip(hosts, counts).map { max(1, $1 / max(1, $0.slots ?? 1)) }.min()
  }

  /// Whether Slurm calls this host so.
  func isHere(_ host: HostName) -> Bool { host.folded == nodeName?.lowercased() }
}
