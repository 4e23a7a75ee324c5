/// The one order in which the gradients of a step's row groups are added: a binary tree over the groups' numbers.
///
/// A node of the groups `a ..< b` is the sum of its two halves, of which the left one has the largest power of two of
/// groups that is less than all of them. So the tree depends on how many groups there are, and on nothing else: neither on
/// who has computed which of them, nor on when.
public enum GroupTree {
  /// Where the right half of a node begins that has more than one group.
  public static func middle(_ groups: Range<Int>) -> Int {
    precondition(groups.count > 1, "a node of \(groups.count) groups has no halves")
    var half = 1
    while 2 * half < groups.count { half *= 2 }
    return groups.lowerBound + half
  }

  /// The largest nodes of the tree over `whole` all of whose groups are `own`, from left to right.
  public static func nodes(of whole: Range<Int>, where own: (Int) -> Bool) -> [Range<Int>] {
    if whole.isEmpty || !whole.contains(where: own) { return [] }
    if whole.allSatisfy(own) { return [whole] }
    let middle = middle(whole)
    return nodes(of: whole.lowerBound..<middle, where: own) + nodes(of: middle..<whole.upperBound, where: own)
  }

  /// The same for groups that follow one another.
  public static func nodes(of own: Range<Int>, in whole: Range<Int>) -> [Range<Int>] {
    nodes(of: whole) { own.contains($0) }
  }
}

/// The rows of a batch as groups, whose gradients are added along `GroupTree`.
public struct RowGroups: Sendable, Equatable {
  /// Groups of the whole round, on all ranks.
  public var total: Int
  /// The number of this batch's first group among them; the others follow.
  public var first: Int
  /// The batch's rows of each group, one after the other.
  public var rows: [Range<Int>]

  public init(total: Int, first: Int, rows: [Range<Int>]) {
    self.total = total
    self.first = first
    self.rows = rows
  }

  /// This batch's groups.
  public var range: Range<Int> { first..<first + rows.count }
  /// The largest nodes of the tree that this batch knows alone.
  public var nodes: [Range<Int>] { GroupTree.nodes(of: range, in: 0..<total) }
}
