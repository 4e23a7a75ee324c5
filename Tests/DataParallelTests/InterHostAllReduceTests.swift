import Collectives
import DataParallel
import Kernels
import System
import TestSupport
import Testing

/// Sums of buckets over ranks that pretend to be on several hosts.
struct InterHostAllReduceTests {
  @Test("sums have closed forms, for odd sizes and uneven buckets", arguments: 2...4, WirePrecision.allCases)
  func closedForms(hosts: Int, wire: WirePrecision) throws {
    for (count, bucket) in [(1, 16), (15, 16), (17, 16), (1000, 48), (4099, 1000), (70_001, 9999), (5, 1 << 16)] {
      let sums = try sum(hosts: hosts, wire: wire, count: count, bucket: bucket) { host, index in
        // Small integers: every precision knows them and their sums.
        Float((index % 7 + 1) * (host + 1))
      }
      let factor = hosts * (hosts + 1) / 2
      for (host, sum) in sums.enumerated() {
        let wrong = sum.indices.first { sum[$0] != Float(($0 % 7 + 1) * factor) }
        #expect(wrong == nil, "element \(wrong ?? 0) of \(count) on host \(host): \(sum[wrong ?? 0])")
      }
    }
  }

  @Test("numbers that no two orders agree on have the same bits on every host: added in the order of hosts")
  func orderOfHosts() throws {
    let value: @Sendable (Int, Int) -> Float = { host, index in 1 / Float(3 + 7 * host + index % 1013) }
    let sums = try sum(hosts: 4, wire: .no, count: 10_007, bucket: 512, value: value)
    let expected = (0..<10_007).map { index in (1..<4).reduce(0 + value(0, index)) { $0 + value($1, index) } }
    for sum in sums { #expect(sum == expected) }
  }

  @Test("what rounding loses comes back: the mean over many steps is exact", arguments: [WirePrecision.fp16, .bf16])
  func errorFeedback(wire: WirePrecision) throws {
    let (hosts, count, steps) = (3, 531, 400)
    let value: @Sendable (Int, Int) -> Float = { host, index in 1 / Float(3 + 7 * host + index) }
    let means = try ThreadCommunicator.run(ranks: hosts, hosts: [1, 1, 1]) { (communicator) throws(Failure) in
      let sum = InterHostAllReduce(
        communicator.makeLink(), try HostTopology(hostsOf: communicator), wire: wire, mostFloats: 100)
      let values = FloatBuffer(count: count)
      let residual = FloatBuffer(count: count)
      var totals = [Double](repeating: 0, count: count)
      var first: [Float] = []
      for step in 0..<steps {
        for index in 0..<count { values.pointer[index] = value(communicator.rank, index) }
        try sum(values.pointer, residual: residual.pointer, count: count, bucket: 100)
        for index in 0..<count { totals[index] += Double(values.pointer[index]) }
        if step == 0 { first = Array(values.buffer) }
      }
      return (totals.map { $0 / Double(steps) }, first)
    }
    #expect(means.allSatisfy { $0.0 == means[0].0 && $0.1 == means[0].1 })
    let digits = wire == .bf16 ? 0x1p-8 : 0x1p-11
    var worstFirst = 0.0
    for index in 0..<count {
      let expected = (0..<hosts).reduce(0) { $0 + Double(value($1, index)) }
      worstFirst = max(worstFirst, relativeError(Double(means[0].1[index]), expected))
      // At most one rounding of each host and of the owner is still to come, of all the steps.
      #expect(relativeError(means[0].0[index], expected) <= 2.5 * digits / Double(steps) + 1e-6, "\(index)")
    }
    #expect(worstFirst > digits / 8, "one step rounds")
  }

  private func sum(
    hosts: Int, wire: WirePrecision, count: Int, bucket: Int, value: @escaping @Sendable (Int, Int) -> Float
  ) throws -> [[Float]] {
    let spread = Array(repeating: 1, count: hosts)
    return try ThreadCommunicator.run(ranks: hosts, hosts: spread) { (communicator) throws(Failure) in
      let sum = InterHostAllReduce(
        communicator.makeLink(), try HostTopology(hostsOf: communicator), wire: wire, mostFloats: bucket, slots: 3)
      let values = FloatBuffer(count: count)
      let residual = FloatBuffer(count: count)
      for index in 0..<count { values.pointer[index] = value(communicator.rank, index) }
      try sum(values.pointer, residual: wire.rounds ? residual.pointer : nil, count: count, bucket: bucket)
      // Nobody ends while another still asks for its messages.
      try communicator.barrier()
      return Array(values.buffer)
    }
  }
}
