import System

extension Communicator {
  /// Makes sure that all ranks have the same of each of `items`, such as the program's arguments; throws
  /// `.disagreement` on every rank, naming the first item that differs, the ranks and their hosts.
  ///
  /// - Parameter items: names and values; the names in the same order on every rank.
  public func requireSame(_ items: [(name: String, value: String)], hint: String? = nil) throws(Failure) {
    let own = ([host] + items.map(\.value)).map { Array($0.utf8) }.joined(separator: [0])
    let all = try allGather(Array(own)).map { bytes in
      bytes.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    }
    for (index, item) in items.enumerated() {
      let values = all.map { $0.count > index + 1 ? $0[index + 1] : "" }
      guard values.contains(where: { !$0.utf8.elementsEqual(values[0].utf8) }) else { continue }
      let failure = Failure(
        .disagreement, differing(values, hosts: all.map { $0[0] }, "the ranks differ in \(item.name)"), hint: hint)
      agreement.record(failure)
      throw failure
    }
  }
}

/// `what: rank 1 (host b) 4, the others 2`: the first that differs from what most have.
func differing(_ values: [String], hosts: [String], _ what: String) -> String {
  var counts: [String: Int] = [:]
  for value in values { counts[value, default: 0] += 1 }
  let most = counts.values.max() ?? 0
  let usual = values.firstIndex { counts[$0] == most } ?? 0
  let odd = values.firstIndex { $0 != values[usual] } ?? 0
  let others =
    counts.count == 2 && values.count > 2 ? "the others" : rankLabel(usual, host: hosts[usual])
  return "\(what): \(rankLabel(odd, host: hosts[odd])) \(values[odd]), \(others) \(values[usual])"
}
