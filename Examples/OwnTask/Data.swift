import Lockstep

/// Each pair twice, in both orders: a paraphrase is one either way.
func bothOrders(of pairs: SentencePairs, _ tokenizer: BertTokenizer) throws -> TokenizedDataset {
  var rows: [Encoding] = []
  var labels: [Label] = []
  for pair in pairs {
    let second = pair.second ?? []
    rows.append(try tokenizer.encode(pair.first, second))
    rows.append(try tokenizer.encode(second, pair.first))
    labels += [pair.label, pair.label]
  }
  return try TokenizedDataset(rows: rows, labels: labels, padID: tokenizer.padID)
}

/// As many rows of each class: those of the smaller one come again.
struct BalancedSampler: Sampler {
  private let byClass: [[Int]]
  private let seed: Int

  init(_ labels: [Label], seed: Int) {
    byClass = (0..<2).map { number in labels.indices.filter { labels[$0] == .category(number) } }.filter { !$0.isEmpty }
    self.seed = seed
  }

  var count: Int { byClass.count * (byClass.map(\.count).max() ?? 0) }

  func order(epoch: Int) -> [Int] {
    let rows = byClass.flatMap { rows in (0..<count / byClass.count).map { rows[$0 % rows.count] } }
    return RandomSampler(count: rows.count, seed: seed).order(epoch: epoch).map { rows[$0] }
  }
}
