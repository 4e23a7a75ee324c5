import Collectives
import Datasets
import Kernels
import System
import TestSupport
import Testing
import Training

/// Training runs against torch's, and against themselves on other numbers of ranks.
struct CurveTests {
  static let names = [
    "plain", "clip and warm-up", "accumulation", "weight decay spares biases and norms",
  ]

  @Test("losses, rates, norms and scores are torch's on 1, 2, 3 and 4 ranks", arguments: names, 1...4)
  func goldenCurve(name: String, ranks: Int) throws { try check(name, ranks, sharesMemory: true) }

  @Test("60 steps of every family are torch's, on 1 and 2 ranks", arguments: Golden.families, 1...2)
  func families(name: String, ranks: Int) throws {
    let golden = try #require(CurveGolden.all()[name])
    try #require(golden.history.count == 60)
    var run = Run(golden)
    run.folder = "\(Golden.folder)/\(name)"
    let expected = try #require(golden.dev_logits).flatMap(\.self)
    for (rank, result) in try run(ranks: ranks).enumerated() {
      #expect(differences(result.steps, golden.expected) == [], "rank \(rank)")
      #expect(worstDifference("logits of rank \(rank)", result.logits, expected, within: 1e-5) == nil)
    }
  }

  @Test("the same where every rank has weights of its own", arguments: names, 2...4)
  func goldenCurveInPrivateMemory(name: String, ranks: Int) throws { try check(name, ranks, sharesMemory: false) }

  private func check(_ name: String, _ ranks: Int, sharesMemory: Bool) throws {
    let golden = try #require(CurveGolden.all()[name])
    var run = Run(golden)
    run.sharesMemory = sharesMemory
    let results = try run(ranks: ranks)
    let expected = try #require(golden.dev_logits).flatMap(\.self)
    let (accuracy, f1) = (try #require(golden.accuracy), try #require(golden.f1))
    let loss = try #require(golden.dev_loss)
    for (rank, result) in results.enumerated() {
      #expect(differences(result.steps, golden.expected) == [], "rank \(rank)")
      #expect(worstDifference("logits of rank \(rank)", result.logits, expected, within: 1e-5) == nil)
      #expect(result.counts.examples == 30)
      #expect(abs(result.counts.accuracy - accuracy) < 1e-12)
      #expect(abs(result.counts.f1 - f1) < 1e-12)
      #expect(relativeError(result.counts.loss, loss) < 1e-5)
    }
  }

  @Test(
    "bf16 follows fp32: losses within 2 %, scores within a point", .enabled(if: ProductPrecision.bf16.isAvailable),
    arguments: names)
  func mixedPrecision(name: String) throws {
    let golden = try #require(CurveGolden.all()[name])
    var run = Run(golden)
    run.precision = .bf16
    let result = try #require(run(ranks: 2).first)
    for (step, expected) in zip(result.steps, golden.expected) {
      #expect(relativeError(step.loss, expected.loss) <= 0.02, "step \(step.step)")
      #expect(step.loss != expected.loss, "bf16 rounds")
    }
    #expect(abs(result.counts.accuracy - (try #require(golden.accuracy))) <= 0.01)
    #expect(abs(result.counts.f1 - (try #require(golden.f1))) <= 0.01)
  }

  @Test("every rank ends with the same bits", arguments: [2, 3, 4], [false, true])
  func sameBits(ranks: Int, sharesMemory: Bool) throws {
    var run = Run()
    run.sharesMemory = sharesMemory
    run.dropout = 0.2
    let results = try run(ranks: ranks)
    let first = try #require(results.first)
    for result in results.dropFirst() { #expect(result.steps == first.steps && result.logits == first.logits) }
  }

  @Test("with dropout on, 2, 3 and 4 ranks follow 1, uneven last batch and window included", arguments: [1, 3])
  func ranksWithDropout(accumulationSteps: Int) throws {
    var run = Run()
    run.dropout = 0.3
    run.order = .shuffled(seed: 42)
    run.accumulationSteps = accumulationSteps
    let alone = try #require(run(ranks: 1).first)
    let expected = alone.steps.map { (loss: $0.loss, rate: $0.learningRate, norm: $0.gradientNorm) }
    for ranks in 2...4 {
      let result = try #require(run(ranks: ranks).first)
      #expect(differences(result.steps, expected) == [], "\(ranks) ranks")
      #expect(worstDifference("logits", result.logits, alone.logits, within: 1e-5) == nil)
    }
    run.dropout = 0
    let off = try #require(run(ranks: 1).first?.steps.first)
    #expect(abs(off.loss - (try #require(alone.steps.first)).loss) > 1e-3, "dropout is on")
  }

  @Test("evaluation counts every row once, whatever the batch size and the ranks", arguments: 1...4)
  func evaluation(ranks: Int) throws {
    for (rows, batchSize) in [(30, 1), (30, 7), (30, 100), (3, 2), (1, 8)] {
      var run = Run()
      run.steps = 1
      run.evaluatedRows = rows
      run.evaluationBatchSize = batchSize
      let results = try run(ranks: ranks)
      let first = try #require(results.first)
      #expect(first.counts.examples == rows)
      #expect(results.allSatisfy { $0.counts == first.counts })
      let labels = try loadSplit(.mrpc, folder: run.data, split: .validation).prefix(rows).map { pair in
        if case .category(let label) = pair.label { label } else { -1 }
      }
      let logits = first.logits
      try #require(logits.count == 2 * rows && labels.count == rows)
      let correct = (0..<rows).count { (logits[2 * $0 + 1] > logits[2 * $0] ? 1 : 0) == labels[$0] }
      #expect(first.counts.correct == correct)
    }
  }
}

/// The reference's long runs, on real data.
@Suite(.needs(.reference))
struct ReferenceCurveTests {
  @Test("the reference's curves and logits", arguments: ["curve_plain", "curve_clip_warmup", "curve_accumulate"])
  func curve(name: String) throws {
    let reference = try #require(Golden.reference)
    let golden = try Golden.json(path: "\(reference)/golden/\(name).json", as: CurveGolden.self)
    var run = Run(golden)
    run.folder = "\(reference)/golden/tiny-bert"
    run.data = "\(reference)/data/glue/MRPC"
    run.evaluatedRows = 32
    let result = try #require(run(ranks: 1).first)
    #expect(differences(result.steps, golden.expected) == [])
    let expected = try #require(golden.dev32_logits).flatMap(\.self)
    #expect(worstDifference("logits", shape: [32, 2], result.logits, expected, within: 1e-5) == nil)
  }
}
