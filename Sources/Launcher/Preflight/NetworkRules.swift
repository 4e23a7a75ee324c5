import System

/// What the hosts' addresses mean for the networks of a job: a pure function.
package struct NetworkRules {
  package var findings: [Finding] = []
  /// The network to name, where MPI might choose a wrong one.
  package var advised: String?

  /// Of one host's many interfaces the first will do.
  private static let mostWarnings = 8

  /// - Parameters:
  ///   - networks: those that are named already: `10.0.0.0/24` or `eth0`.
  package init(_ hosts: [(name: String, addresses: [HostReport.Address])], networks: [String]) {
    // Without `ip` there, nothing is known.
    guard hosts.count > 1, hosts.allSatisfy({ !$0.addresses.isEmpty }) else { return }
    let outer = hosts.map { ($0.name, $0.addresses.filter { $0.interface != "lo" && $0.address >> 24 != 127 }) }
    if !networks.isEmpty {
      for (host, addresses) in outer {
        for network in networks where !addresses.contains(where: { $0.isIn(network) }) {
          let networksThere = addresses.prefix(Self.mostWarnings).map { "\($0.interface) \($0.network)" }.joined(
            separator: ", ")
          let found = networksThere.isEmpty ? "none but lo" : networksThere
          findings.append(
            .error(
              .configuration, at: host, "has no interface in \(network), it has \(found)",
              hint: "give --network one that all hosts have"))
        }
      }
      return
    }
    // The hosts' first addresses by network.
    var byNetwork: [UInt64: [UInt32]] = [:]
    for (_, addresses) in outer {
      var seen: Set<UInt64> = []
      for address in addresses where seen.insert(address.networkNumber).inserted {
        byNetwork[address.networkNumber, default: []].append(address.address)
      }
    }
    // The same address on two hosts is a bridge inside each, such as docker0, and leads nowhere.
    let common = Set(
      byNetwork.filter { $0.value.count == outer.count && Set($0.value).count == outer.count }.map(\.key))
    guard let shared = outer[0].1.first(where: { common.contains($0.networkNumber) }) else {
      findings.append(
        .warning(
          "network", "no network is common to all hosts", hint: "if they reach one another over a router, all is well"))
      return
    }
    for (host, addresses) in outer {
      for odd in addresses.lazy.filter({ !common.contains($0.networkNumber) }).prefix(Self.mostWarnings) {
        advised = shared.network
        findings.append(
          .warning(
            host, "\(odd.interface) (\(odd.dotted)/\(odd.prefix)) leads to no other host, MPI may try it and hang",
            hint: "--network \(shared.network)"))
      }
    }
  }
}
