import Kernels
import TestSupport
import Testing

/// Philox, normal numbers and dropout.
struct RandomTests {
  @Test("Philox gives Random123's known answers")
  func knownAnswers() {
    typealias Words = (UInt32, UInt32, UInt32, UInt32)
    func words(_ w: Words) -> [UInt32] { [w.0, w.1, w.2, w.3] }
    let ones = UInt32.max
    #expect(words(philox4x32((0, 0, 0, 0), key: (0, 0))) == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
    #expect(
      words(philox4x32((ones, ones, ones, ones), key: (ones, ones)))
        == [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd])
    #expect(
      words(philox4x32((0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), key: (0xa409_3822, 0x299f_31d0)))
        == [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1])
  }

  private func normal(_ count: Int, start: Int = 0, seed: UInt64 = 5, deviation: Float = 1) -> [Float] {
    // A place more on both sides, which must stay as it is.
    var numbers = [Float](repeating: -77, count: count + 2)
    numbers.withUnsafeMutableBufferPointer {
      fillNormal(count: count, deviation: deviation, seed: seed, start: start, into: $0.baseAddress! + 1)
    }
    #expect(numbers.first == -77 && numbers.last == -77, "\(count) numbers from \(start) on")
    return Array(numbers.dropFirst().dropLast())
  }

  @Test("normal numbers do not depend on how a range is cut")
  func cuts() {
    let all = normal(64, start: 3)
    for start in 0..<12 {
      for count in 0..<18 {
        #expect(normal(count, start: 3 + start) == Array(all[start..<start + count]), "\(count) from \(start)")
      }
    }
    let far = (1 << 34) + 1
    #expect(normal(9, start: far).suffix(6) == normal(6, start: far + 3)[...])
    #expect(normal(8, start: far) != normal(8, start: 1), "places 2³⁴ apart are different")
  }

  @Test("normal numbers depend on the seed, all 64 bits of it, and scale with the deviation")
  func seeds() {
    let base = normal(100)
    for bit in [0, 1, 31, 32, 63] { #expect(normal(100, seed: 5 ^ 1 << bit) != base, "bit \(bit)") }
    #expect(worstDifference("scaled", normal(100, deviation: 0.02), base.map { $0 * 0.02 }, within: 1e-8) == nil)
  }

  @Test("mean, variance, fourth moment and tails are those of the normal distribution")
  func moments() {
    let count = 400_000
    let values = normal(count, seed: 42).map(Double.init)
    let mean = values.reduce(0, +) / Double(count)
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count)
    let fourth = values.reduce(0) { $0 + $1 * $1 * $1 * $1 } / Double(count)
    // Four standard errors each: 1/√n, √(2/n), √(96/n).
    let unit = 1 / Double(count).squareRoot()
    #expect(abs(mean) < 4 * unit)
    #expect(abs(variance - 1) < 4 * 2.0.squareRoot() * unit)
    #expect(abs(fourth - 3) < 4 * 96.0.squareRoot() * unit)
    for (limit, share) in [(0.5, 0.617_075), (1.0, 0.317_311), (2.0, 0.045_500), (3.0, 0.002_700), (4.0, 0.000_063)] {
      let found = Double(values.count { abs($0) > limit }) / Double(count)
      #expect(abs(found - share) < 4 * (share / Double(count)).squareRoot(), "beyond \(limit)")
    }
    let half = values.count / 2
    let neighbours = (0..<half).reduce(0) { $0 + values[2 * $1] * values[2 * $1 + 1] } / Double(half)
    #expect(abs(neighbours) < 4 / Double(half).squareRoot(), "neighbours are independent")
  }

  private func scales(
    _ dropout: Dropout, columns: Int = 1000, site: UInt32 = 3, row: UInt32 = 7, position: UInt32 = 11
  ) -> [Float] {
    var scales = [Float](repeating: .nan, count: columns + Dropout.padding)
    dropoutScales(dropout, rows: 1, columns: columns, into: &scales) { _ in
      RandomAddress(site: site, row: row, position: position)
    }
    return Array(scales.prefix(columns))
  }

  @Test("dropout keeps its share and scales what it keeps", arguments: [Float(0.1), 0.25, 0.5, 0.9])
  func shares(probability: Float) {
    let count = 60_000
    let factors = scales(Dropout(probability: probability, seed: 1, step: 1), columns: count)
    let kept = 1 / (1 - probability)
    #expect(factors.allSatisfy { $0 == 0 || $0 == kept })
    let share = Double(factors.count { $0 != 0 }) / Double(count)
    let p = Double(probability)
    #expect(abs(share - (1 - p)) < 4 * (p * (1 - p) / Double(count)).squareRoot())
  }

  @Test("masks depend on every part of the address and on nothing else")
  func addresses() {
    let dropout = Dropout(probability: 0.5, seed: 1, step: 1)
    let base = scales(dropout)
    #expect(scales(dropout) == base)
    #expect(Array(scales(dropout, columns: 2000).prefix(1000)) == base, "a longer vector begins alike")
    let others = [
      scales(dropout, site: 4), scales(dropout, row: 8), scales(dropout, position: 12),
      scales(Dropout(probability: 0.5, seed: 2, step: 1)),
      scales(Dropout(probability: 0.5, seed: 1 | 1 << 40, step: 1)),
      scales(Dropout(probability: 0.5, seed: 1, step: 2)),
    ]
    for (index, other) in others.enumerated() {
      // Independent masks agree in half of the places.
      let same = zip(base, other).count { $0 == $1 }
      #expect(abs(same - 500) < 80, "address \(index): \(same) of 1000 places agree")
    }
  }

  @Test("dropout in place is multiplication by the scales; 0 leaves everything", arguments: [1, 3, 4, 15, 17])
  func inPlace(columns: Int) {
    let dropout = Dropout(probability: 0.3, seed: 9, step: 4)
    var numbers = Numbers(1)
    let x = numbers.floats(3 * columns)
    let address = { (row: Int) in RandomAddress(site: 1, row: UInt32(row), position: 0) }
    var scales = [Float](repeating: .nan, count: 3 * columns + Dropout.padding)
    dropoutScales(dropout, rows: 3, columns: columns, into: &scales, address: address)
    var scratch = [Float](repeating: .nan, count: columns + Dropout.padding)
    var dropped = x
    applyDropout(dropout, rows: 3, columns: columns, x: &dropped, scratch: &scratch, address: address)
    #expect(dropped == zip(x, scales).map { $0 * $1 })
    var same = x
    applyDropout(
      Dropout(probability: 0, seed: 9, step: 4), rows: 3, columns: columns, x: &same, scratch: &scratch,
      address: address)
    #expect(same == x)
  }
}
