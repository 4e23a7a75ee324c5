import Collectives
import Kernels

/// How a round of so many rows is added up.
struct GroupSumPlan {
  /// Where the nodes of this host's ranks are.
  var local: [UnsafePointer<Float>]
  /// The whole sum: of them, or where there are several hosts, of the nodes that these make up.
  var whole: GroupSumProgram
  /// Of each of this host's nodes, of those of its ranks.
  var programs: [GroupSumProgram] = []
  /// The nodes of each other host: its number, and how many.
  var others: [(host: Int, nodes: Int)] = []
  /// Room for a piece of each host's nodes: first this host's, then those of `others`.
  var pieces: [UnsafeMutablePointer<Float>] = []
  /// The same, to read.
  var sources: [UnsafePointer<Float>] = []
}

/// The plans by the rows of a round, each made once: there are few.
struct GroupSumPlans {
  private let plan: RowGroupPlan
  private let groups: HostTopology
  private let ranks: Int
  /// By place in the group: its buffers.
  private let buffers: [[UnsafeMutablePointer<Float>]]
  private let pieceCount: Int
  /// What the plans' pieces lie in.
  private var pieces: [FloatBuffer] = []
  private var known: [Int: GroupSumPlan] = [:]

  /// - Parameters:
  ///   - buffers: by place in this rank's group: where its nodes are.
  ///   - pieceCount: the most floats that hosts send one another at a time.
  init(
    _ plan: RowGroupPlan, _ groups: HostTopology, ranks: Int, buffers: [[UnsafeMutablePointer<Float>]], pieceCount: Int
  ) {
    self.plan = plan
    self.groups = groups
    self.ranks = ranks
    self.buffers = buffers
    self.pieceCount = pieceCount
  }

  mutating func plan(rows: Int) -> GroupSumPlan {
    if let made = known[rows] { return made }
    let made = makePlan(rows)
    known[rows] = made
    return made
  }

  private mutating func makePlan(_ rows: Int) -> GroupSumPlan {
    let local = localNodes(rows)
    let total = plan.groupCount(rows: rows)
    guard groups.count > 1 else {
      return GroupSumPlan(local: local.map(\.place), whole: GroupSumProgram(0..<total, of: local.map(\.node)))
    }
    let own = nodes(ofGroup: groups.own, rows)
    let others = (0..<groups.count).filter { $0 != groups.own }
    let theirs = others.map { nodes(ofGroup: $0, rows) }
    let all = own + theirs.flatMap { $0 }
    while pieces.count < all.count { pieces.append(FloatBuffer(count: pieceCount)) }
    let room = pieces.prefix(all.count).map(\.pointer)
    return GroupSumPlan(
      local: local.map(\.place), whole: GroupSumProgram(0..<total, of: all),
      programs: own.map { GroupSumProgram($0, of: local.map(\.node)) },
      others: zip(others, theirs).map { ($0, $1.count) }, pieces: room, sources: room.map { UnsafePointer($0) })
  }

  /// The largest nodes that a host's ranks make up together.
  private func nodes(ofGroup group: Int, _ rows: Int) -> [Range<Int>] {
    let own = groups.ranks[group].map { plan.groups(rank: $0, ranks: ranks, rows: rows) }
    return GroupTree.nodes(of: 0..<plan.groupCount(rows: rows)) { number in own.contains { $0.contains(number) } }
  }

  /// The nodes that this host's ranks have computed, and where they are.
  private func localNodes(_ rows: Int) -> [(node: Range<Int>, place: UnsafePointer<Float>)] {
    groups.ranks[groups.own].enumerated().flatMap { place, rank in
      let nodes = plan.share(rank: rank, ranks: ranks, rows: rows).groups.nodes
      return zip(nodes, buffers[place]).map { ($0, UnsafePointer($1)) }
    }
  }
}
