import System

/// How the ranks are spread over groups that see one memory, as a rank sees it.
public struct HostTopology: Sendable, Equatable {
  /// The ranks of each group, in order; groups in the order of their first ranks.
  public let ranks: [[Int]]
  /// This rank's group.
  public let own: Int
  /// This rank's place in it.
  public let place: Int

  /// The ranks of each host. Called by all ranks.
  public init(hostsOf communicator: any Communicator) throws(Failure) {
    let leaders = try communicator.allGather(communicator.hostLeader)
    self.init(leaders, rank: communicator.rank)
  }

  /// Every rank by itself.
  public init(singlesOf communicator: any Communicator) {
    self.init(Array(0..<communicator.size), rank: communicator.rank)
  }

  private init(_ leaders: [Int], rank: Int) {
    var groups: [(leader: Int, ranks: [Int])] = []
    for (rank, leader) in leaders.enumerated() {
      if let index = groups.firstIndex(where: { $0.leader == leader }) {
        groups[index].ranks.append(rank)
      } else {
        groups.append((leader, [rank]))
      }
    }
    ranks = groups.map(\.ranks)
    own = groups.firstIndex { $0.leader == leaders[rank] } ?? 0
    place = ranks[own].firstIndex(of: rank) ?? 0
  }

  public var count: Int { ranks.count }

  /// How many ranks of every group can speak with one of each other group: the size of the smallest.
  public var peerGroupCount: Int { ranks.map(\.count).min() ?? 0 }

  /// Whether this rank is one of them.
  public var isInPeerGroup: Bool { place < peerGroupCount }
}
