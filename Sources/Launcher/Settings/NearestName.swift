/// The name among `names` that `text` was most likely meant to be: the nearest by edits, if it is near enough.
public func nearest(to text: String, among names: [String]) -> String? {
  // The distance takes time in proportion to the length; no name of ours is so long.
  guard text.utf8.count <= 64 else { return nil }
  let best = names.map { ($0, editDistance(Array(text.utf8), Array($0.utf8))) }.min { $0.1 < $1.1 }
  guard let best, best.1 <= max(1, text.utf8.count / 3) else { return nil }
  return best.0
}

/// Insertions, deletions, replacements and swaps of neighbours between two texts (optimal string alignment).
package func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
  var before = [Int](repeating: 0, count: b.count + 1)
  var previous = Array(0...b.count)
  for i in 0..<a.count {
    var current = [i + 1]
    for j in 0..<b.count {
      var cost = min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, before[j - 1] + 1) }
      current.append(cost)
    }
    before = previous
    previous = current
  }
  return previous[b.count]
}
