import Collectives

/// How a rank's part of the sum over hosts is cut into buckets.
///
/// Rank l of each host speaks with the l-th ranks of the others: they are a peer group. There are as many peer groups as the
/// smallest host has ranks. They share every bucket, so that all are busy as soon as backward has finished the first. Ranks
/// beyond that have no part.
package struct ExchangePlan {
  /// A rank's part of a bucket.
  package struct Bucket {
    package var range: Range<Int>
    /// Its gradients are final when backward has come down to this offset.
    package var finalOffset: Int
  }

  /// In the order in which backward finishes them; the word table is in none of them.
  package var buckets: [Bucket] = []
  /// This rank's rows of the word table, of which only those travel that a step's tokens touch.
  var words = 0..<0
  /// Numbers of a row of the word table.
  let columns: Int
  /// Whether this rank has a part in the sums.
  package let isInPeerGroup: Bool

  /// - Parameter bucketFloats: the most that a rank sums at once.
  package init(_ layout: GradientLayout, _ groups: HostTopology, bucketFloats: Int) {
    let first = layout.trained.lowerBound
    columns = layout.columns
    let peerGroupCount = groups.peerGroupCount
    isInPeerGroup = groups.isInPeerGroup
    guard isInPeerGroup else { return }
    if first == 0 {
      words = layout.rows * groups.place / peerGroupCount..<layout.rows * (groups.place + 1) / peerGroupCount
    }
    var end = layout.count
    for offset in layout.finalOffsets where offset >= first {
      let section = max(offset, layout.table.upperBound)..<end
      let pieces = max(1, (section.count + bucketFloats * peerGroupCount - 1) / (bucketFloats * peerGroupCount))
      for piece in 0..<pieces {
        let part = cut(cut(section, piece, of: pieces), groups.place, of: peerGroupCount)
        if !part.isEmpty { buckets.append(Bucket(range: part, finalOffset: offset)) }
      }
      end = section.lowerBound
    }
  }

  /// The parameters that this rank updates: its part of each bucket, and of the word table.
  package var parts: [Range<Int>] {
    isInPeerGroup ? buckets.map(\.range) + [words.lowerBound * columns..<words.upperBound * columns] : []
  }

  /// The most floats that this rank sums at once.
  func mostFloats(_ bucketFloats: Int) -> Int { max(bucketFloats + 16, buckets.map(\.range.count).max() ?? 0) }
}
