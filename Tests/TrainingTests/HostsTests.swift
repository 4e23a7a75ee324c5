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
}
