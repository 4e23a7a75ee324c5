import Collectives
import DataParallel
import Kernels
import System
import TestSupport
import Testing

/// How sums over hosts are cut, and the rows of the word table that travel.
struct ExchangePlanTests {
  @Test(
    "the buckets of all peer groups and the word table are every parameter, once", arguments: [16, 100, 1000, 1 << 20])
  func plan(bucketFloats: Int) throws {
    let layout = GradientLayout(
      count: 60_007, rows: 331, columns: 48, finalOffsets: [58_001, 40_003, 22_005, 0], trained: 0..<60_007)
    for hosts in [[1, 1], [2, 1], [1, 3], [2, 2], [1, 1, 1], [2, 1, 1], [1, 1, 1, 1]] {
      let ranks = hosts.reduce(0, +)
      let plans = try ThreadCommunicator.run(ranks: ranks, hosts: hosts) { (communicator) throws(Failure) in
        let groups = try HostTopology(hostsOf: communicator)
        let plan = ExchangePlan(layout, groups, bucketFloats: bucketFloats)
        return (groups, plan.buckets.map { ($0.range, $0.finalOffset) }, plan.isInPeerGroup ? plan.parts : [])
      }
      let first = plans[0].0.ranks[0]
      var covered = [Int](repeating: 0, count: layout.count)
      for rank in first {
        for part in plans[rank].2 { for index in part { covered[index] += 1 } }
        for (range, offset) in plans[rank].1 { #expect(range.lowerBound >= offset && range.count <= bucketFloats + 16) }
      }
      #expect(covered.allSatisfy { $0 == 1 }, "\(hosts)")
      for (groups, buckets, parts) in plans {
        // Same cut on every host.
        guard groups.isInPeerGroup else {
          #expect(parts.isEmpty && buckets.isEmpty)
          continue
        }
        #expect(parts == plans[first[groups.place]].2)
      }
    }
  }

  @Test("touched rows are taken out, summed and put back; the others stay")
  func touchedRows() {
    let (rows, columns) = (70, 3)
    var bits = [UInt64](repeating: 0, count: 2)
    for row in [10, 12, 63, 64, 69] { bits[row / 64] |= 1 << UInt64(row % 64) }
    let sources = [FloatBuffer(count: rows * columns), FloatBuffer(count: rows * columns)]
    for index in 0..<rows * columns {
      sources[0].pointer[index] = Float(index)
      sources[1].pointer[index] = Float(1000 * index)
    }
    let residuals = FloatBuffer(count: (rows - 11) * columns)
    for index in 0..<residuals.count { residuals.pointer[index] = Float(index) }
    var touched = SparseGradientRows(11..<rows, columns: columns, rounds: true)
    touched.pack(bits, sources.map(\.pointer), residuals: residuals.pointer)
    #expect(touched.count == 4 * columns)
    let expected = [12, 63, 64, 69].flatMap { row in (0..<columns).map { Float(1001 * (row * columns + $0)) } }
    #expect(Array(touched.values.buffer.prefix(touched.count)) == expected)
    #expect(touched.residuals?.pointer[0] == Float(columns))
    for index in 0..<touched.count {
      touched.values.pointer[index] = -1
      touched.residuals?.pointer[index] = -2
    }
    touched.unpack(into: sources[0].pointer, residuals: residuals.pointer)
    for row in 0..<rows {
      let isTouched = [12, 63, 64, 69].contains(row)
      for column in 0..<columns {
        let index = row * columns + column
        #expect(sources[0].pointer[index] == (isTouched ? -1 : Float(index)))
        guard row >= 11 else { continue }
        let place = index - 11 * columns
        #expect(residuals.pointer[place] == (isTouched ? -2 : Float(place)))
      }
    }
  }
}
