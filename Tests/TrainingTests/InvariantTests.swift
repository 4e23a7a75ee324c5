import Collectives
import DataParallel
import Kernels
import TestSupport
import Testing
import Training

/// Steps that have the same bits on any number of ranks, threads and hosts.
struct InvariantTests {
  /// 60 steps over several epochs with dropout, another order each epoch and short last batches.
  private static func run(_ globalBatchSize: Int) -> Run {
    var run = Run()
    run.reduction = .invariant
    run.globalBatchSize = globalBatchSize
    run.steps = 60
    run.dropout = 0.2
    run.order = .shuffled(seed: 7)
    return run
  }

  private func expectSame(
    _ run: Run, ranks: Int, _ expected: Run.Result, _ what: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for (rank, result) in try run(ranks: ranks).enumerated() {
      let first = zip(result.steps, expected.steps).first { $0 != $1 }
      #expect(first == nil, "\(what), rank \(rank)", sourceLocation: sourceLocation)
      #expect(result.steps.count == expected.steps.count, "\(what), rank \(rank)", sourceLocation: sourceLocation)
      #expect(result.weights == expected.weights, "\(what), rank \(rank): weights", sourceLocation: sourceLocation)
      #expect(result.counts == expected.counts, "\(what), rank \(rank): evaluation", sourceLocation: sourceLocation)
    }
  }

  @Test("weights, losses, norms and scores have the same bits on 1, 2, 3, 4 and 8 ranks", arguments: [8, 13, 40])
  func ranks(globalBatchSize: Int) throws {
    let run = Self.run(globalBatchSize)
    let expected = try #require(run(ranks: 1).first)
    for ranks in [2, 3, 4, 8] { try expectSame(run, ranks: ranks, expected, "\(ranks) ranks") }
  }

  @Test("so they do with accumulation and clipping", arguments: [(3, nil), (1, 0.5), (2, 0.5)] as [(Int, Double?)])
  func windows(accumulationSteps: Int, maxGradientNorm: Double?) throws {
    var run = Self.run(8)
    run.accumulationSteps = accumulationSteps
    run.maxGradientNorm = maxGradientNorm
    let expected = try #require(run(ranks: 1).first)
    for ranks in [2, 3, 4] { try expectSame(run, ranks: ranks, expected, "\(ranks) ranks") }
    run.hosts = [2, 1]
    try expectSame(run, ranks: 3, expected, "hosts 2, 1")
  }

  @Test("so they do with two threads, with a copy of the weights on each rank, and in batches of other sizes")
  func others() throws {
    var run = Self.run(8)
    let expected = try #require(run(ranks: 1).first)
    run.threads = 2
    for ranks in [1, 2, 3] { try expectSame(run, ranks: ranks, expected, "\(ranks) ranks of 2 threads") }
    run.threads = 1
    run.sharesMemory = false
    for ranks in [1, 3] { try expectSame(run, ranks: ranks, expected, "\(ranks) ranks that share nothing") }
    run.evaluationBatchSize = 3
    try expectSame(run, ranks: 2, expected, "evaluated in smaller batches")
  }

  @Test("so they do on several hosts, uneven ones included", arguments: HostsTests.spreads + [[4, 1, 3]])
  func hosts(hosts: [Int]) throws {
    var run = Self.run(8)
    let expected = try #require(run(ranks: 1).first)
    run.hosts = hosts
    try expectSame(run, ranks: hosts.reduce(0, +), expected, "hosts \(hosts)")
  }

  @Test("so they do in bf16", .enabled(if: ProductPrecision.bf16.isAvailable))
  func bf16() throws {
    var run = Self.run(16)
    run.precision = .bf16
    let expected = try #require(run(ranks: 1).first)
    for ranks in [2, 3, 4] { try expectSame(run, ranks: ranks, expected, "\(ranks) ranks") }
  }

  @Test("they follow torch's curve as the fast way does", arguments: CurveTests.names)
  func golden(name: String) throws {
    let golden = try #require(CurveGolden.all()[name])
    var run = Run(golden)
    run.reduction = .invariant
    for ranks in [1, 3] {
      let result = try #require(run(ranks: ranks).first)
      #expect(differences(result.steps, golden.expected) == [], "\(ranks) ranks")
    }
  }

  // MARK: The tree

  @Test("the tree's nodes of any run of groups are that run, and their sums make up the whole")
  func nodes() {
    for total in 1...20 {
      for ranks in 1...9 {
        let cuts = (0...ranks).map { total * $0 / ranks }
        let nodes = zip(cuts, cuts.dropFirst()).flatMap { GroupTree.nodes(of: $0..<$1, in: 0..<total) }
        #expect(nodes.flatMap { Array($0) } == Array(0..<total), "\(total) groups on \(ranks) ranks")
        let values = nodes.map { node in Self.sum(node) { 1 / Float(3 + 7 * $0) } }
        let scratch = FloatBuffer(count: 16 * 10)
        let program = GroupSumProgram(0..<total, of: nodes)
        let found = values.withUnsafeBufferPointer { values in
          program.sum(count: 1, { values.baseAddress! + $0 }, scratch: scratch.pointer, width: 16)[0]
        }
        #expect(found == Self.sum(0..<total) { 1 / Float(3 + 7 * $0) }, "\(total) groups on \(ranks) ranks")
      }
    }
  }

  private static func sum(_ node: Range<Int>, _ leaf: (Int) -> Float) -> Float {
    if node.count == 1 { return leaf(node.lowerBound) }
    let middle = GroupTree.middle(node)
    return sum(node.lowerBound..<middle, leaf) + sum(middle..<node.upperBound, leaf)
  }
}
