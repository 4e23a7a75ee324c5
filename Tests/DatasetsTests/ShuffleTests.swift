import Datasets
import Testing

@Suite struct ShuffleTests {
  /// torch.randperm's well-known outputs.
  @Test(arguments: [
    (0, [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]), (42, [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]), (42, [0, 3, 2, 4, 1, 5]),
    (1234, [15, 7, 2, 0, 12, 8, 5, 13, 3, 11, 1, 4, 14, 9, 6, 10]),
  ])
  func torchRandomPermutations(seed: Int, expected: [Int]) {
    #expect(shuffledOrder(count: expected.count, seed: seed, epoch: 0) == expected)
  }

  /// MRPC's 3,668 rows draw past the generator's first 624 numbers.
  @Test(arguments: [
    (0, [3130, 2085, 762, 3357, 2158, 3436, 256, 1426, 198, 1924, 3082, 2370], [316, 2492, 1125, 1798]),
    (1, [2628, 3360, 2605, 1880, 3145, 295], [204, 3071, 2651, 2286]),
    (2, [3012, 2613, 2709, 1788, 3519], [2914, 379, 1385, 1219]),
  ])
  func acceleratesEpochs(epoch: Int, first: [Int], last: [Int]) {
    let order = shuffledOrder(count: 3668, seed: 42, epoch: epoch)
    #expect(Array(order.prefix(first.count)) == first)
    #expect(Array(order.suffix(last.count)) == last)
    #expect(order.sorted() == Array(0..<3668))
    #expect(shuffledOrder(count: 3668, seed: 42 + epoch, epoch: 0) == order)
  }

  @Test func smallestCounts() {
    #expect(shuffledOrder(count: 0, seed: 1, epoch: 0) == [])
    #expect(shuffledOrder(count: 1, seed: 1, epoch: 0) == [0])
    #expect(shuffledOrder(count: 3, seed: .max, epoch: .max).sorted() == [0, 1, 2])
    #expect(shuffledOrder(count: 20, seed: 1 << 32 | 7, epoch: 0) == shuffledOrder(count: 20, seed: 7, epoch: 0))
  }
}
