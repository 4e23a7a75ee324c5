import BERT
import Collectives
import Kernels
import System
import TestSupport
import Testing
import Training

/// Ranks that pretend to be on several hosts: they see the memory of their own only.
struct HostsTests {
  static let spreads = [[1, 1], [2, 1], [1, 3], [2, 2], [1, 1, 1], [2, 1, 1], [1, 1, 1, 1]]

  @Test("losses, norms and scores are torch's on 2 to 4 hosts", arguments: CurveTests.names, spreads)
  func goldenCurve(name: String, hosts: [Int]) throws {
    let golden = try #require(CurveGolden.all()[name])
    var run = Run(golden)
    run.hosts = hosts
    let results = try run(ranks: hosts.reduce(0, +))
    let (first, accuracy) = (try #require(results.first), try #require(golden.accuracy))
    for (rank, result) in results.enumerated() {
      #expect(differences(result.steps, golden.expected) == [], "rank \(rank)")
      #expect(abs(result.counts.accuracy - accuracy) < 1e-12)
      #expect(result.weights == first.weights && result.steps == first.steps, "rank \(rank)")
    }
  }

  @Test("with dropout on, hosts follow 1 rank, uneven last batch and window included", arguments: [1, 3])
  func dropout(accumulationSteps: Int) throws {
    var run = Run()
    run.dropout = 0.3
    run.order = .shuffled(seed: 42)
    run.accumulationSteps = accumulationSteps
    run.maxGradientNorm = accumulationSteps == 1 ? 0.5 : nil
    let alone = try #require(run(ranks: 1).first)
    let expected = alone.steps.map { (loss: $0.loss, rate: $0.learningRate, norm: $0.gradientNorm) }
    for hosts in Self.spreads {
      run.hosts = hosts
      let result = try #require(run(ranks: hosts.reduce(0, +)).first)
      #expect(differences(result.steps, expected) == [], "\(hosts)")
      #expect(worstDifference("logits", result.logits, alone.logits, within: 1e-5) == nil, "\(hosts)")
    }
  }

  @Test(
    "rounded on the wire, losses stay within 2 %, and every rank has the same bits",
    arguments: [WirePrecision.fp16, .bf16])
  func rounded(wire: WirePrecision) throws {
    let golden = try #require(CurveGolden.all()["plain"])
    for hosts in Self.spreads {
      var run = Run(golden)
      run.hosts = hosts
      run.wire = wire
      let results = try run(ranks: hosts.reduce(0, +))
      let first = try #require(results.first)
      for (step, expected) in zip(first.steps, golden.expected) {
        #expect(relativeError(step.loss, expected.loss) <= 0.02, "step \(step.step) on \(hosts)")
      }
      #expect(first.steps.last?.loss != golden.expected.last?.loss, "it rounds")
      #expect(results.allSatisfy { $0.weights == first.weights && $0.steps == first.steps }, "\(hosts)")
    }
  }

  // MARK: The sum

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

  // MARK: Plan and rows

  @Test(
    "the buckets of all peer groups and the word table are every parameter, once", arguments: [16, 100, 1000, 1 << 20])
  func plan(bucketFloats: Int) throws {
    let layout = ParameterLayout(try ModelFolder("\(Golden.folder)/tiny-bert").configuration)
    for hosts in Self.spreads {
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
