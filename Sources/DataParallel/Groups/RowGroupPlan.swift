import Kernels

/// How the rounds of an epoch are cut into groups of rows, and which groups a rank has: the former depends on the global
/// batch and the data set only.
public struct RowGroupPlan: Sendable, Equatable {
  /// Rows of a full round over all ranks.
  public let globalBatchSize: Int
  /// The most rows of a group.
  public let rowsPerGroup: Int
  /// Rows that rounds have: a full one, and the last one of an epoch.
  private let roundRows: [Int]

  /// - Parameters:
  ///   - globalBatchSize: rows of a full round over all ranks.
  ///   - lastRows: rows of an epoch's last round.
  public init(globalBatchSize: Int, lastRows: Int) {
    self.globalBatchSize = globalBatchSize
    // Eight groups share out well over 1, 2, 3, 4 and 8 ranks. Of more than four rows each nothing would be faster.
    rowsPerGroup = min(4, max(1, (globalBatchSize + 7) / 8))
    roundRows = [globalBatchSize, lastRows]
  }

  /// Groups of a round of `rows` rows, as even as can be.
  public func groupCount(rows: Int) -> Int { (rows + rowsPerGroup - 1) / rowsPerGroup }

  /// The places of a group's rows in a round of `rows` rows.
  public func places(group: Int, rows: Int) -> Range<Int> {
    let groups = groupCount(rows: rows)
    return rows * group / groups..<rows * (group + 1) / groups
  }

  /// The groups of a rank: they follow one another, and those of the next rank follow them.
  public func groups(rank: Int, ranks: Int, rows: Int) -> Range<Int> {
    let groups = groupCount(rows: rows)
    // The first ranks have one more.
    let (share, larger) = groups.quotientAndRemainder(dividingBy: ranks)
    let start = rank * share + min(rank, larger)
    return start..<start + share + (rank < larger ? 1 : 0)
  }

  /// The places of a rank's rows in a round, and the groups that they are.
  package func share(rank: Int, ranks: Int, rows: Int) -> (places: Range<Int>, groups: RowGroups) {
    let own = groups(rank: rank, ranks: ranks, rows: rows)
    let total = groupCount(rows: rows)
    guard let first = own.first, let last = own.last else {
      return (0..<0, RowGroups(total: total, first: own.lowerBound, rows: []))
    }
    let start = places(group: first, rows: rows).lowerBound
    let ranges = own.map { group in
      let places = places(group: group, rows: rows)
      return places.lowerBound - start..<places.upperBound - start
    }
    return (
      start..<places(group: last, rows: rows).upperBound, RowGroups(total: total, first: own.lowerBound, rows: ranges)
    )
  }

  /// Rows of the largest share of any rank.
  package func mostRows(ranks: Int) -> Int {
    roundRows.flatMap { rows in (0..<ranks).map { share(rank: $0, ranks: ranks, rows: rows).places.count } }.max() ?? 0
  }

  /// The most nodes of the tree that any rank has to keep apart.
  package func mostNodes(ranks: Int) -> Int {
    roundRows.flatMap { rows in
      (0..<ranks).map { rank in share(rank: rank, ranks: ranks, rows: rows).groups.nodes.count }
    }.max() ?? 0
  }
}
