import BERT
import Collectives
import Datasets
import Kernels
import Reporting
import System
import TestSupport
import Testing
import Training

/// Steps with numbers that are not finite, which all ranks leave out.
struct NonFiniteTests {
  /// How a training runs.
  struct Way: Sendable, CustomTestStringConvertible {
    var hosts: [Int]
    var reduction = ReductionMode.fast
    var sharesMemory = true
    var wire = WirePrecision.no
    var accumulationSteps = 1
    var maxGradientNorm: Double?

    var ranks: Int { hosts.reduce(0, +) }
    var testDescription: String {
      "\(hosts) \(reduction)\(sharesMemory ? "" : " copies") \(wire) \(accumulationSteps) \(maxGradientNorm ?? 0)"
    }
  }

  /// What a rank has at the end.
  private struct Outcome: Sendable {
    var reports: [StepReport] = []
    var weights: UInt64 = 0
    var isFinite = true
    var taken = 0
    var skipped = 0
  }

  /// A word of the rows 48, 49 and 59 alone.
  private static let word = 94
  private static let epochs = 2

  static let exact = [
    Way(hosts: [1]), Way(hosts: [2]), Way(hosts: [3], accumulationSteps: 2, maxGradientNorm: 0.5),
    Way(hosts: [1], reduction: .invariant), Way(hosts: [3], reduction: .invariant),
    Way(hosts: [2, 1], reduction: .invariant, accumulationSteps: 2),
    Way(hosts: [2], reduction: .invariant, sharesMemory: false, maxGradientNorm: 0.5),
  ]
  static let others = [
    Way(hosts: [2], sharesMemory: false), Way(hosts: [1, 1]), Way(hosts: [2, 1], accumulationSteps: 2),
    Way(hosts: [1, 1], wire: .bf16), Way(hosts: [2, 1], wire: .fp16, maxGradientNorm: 0.5),
  ]

  /// Two epochs in the order of the file, where the word's embedding is a number that overflows.
  ///
  /// - Parameter discards: whether the program itself forgets the windows that hold the word.
  private func train(_ way: Way, discards: Bool = false) throws -> [Outcome] {
    BLAS.setThreads(1)
    if way.ranks == 1 { return [try outcome(way, discards: discards, SoloCommunicator())] }
    return try ThreadCommunicator.run(ranks: way.ranks, hosts: way.hosts) { (communicator) throws(System.Failure) in
      try outcome(way, discards: discards, communicator)
    }
  }

  private func outcome(
    _ way: Way, discards: Bool, _ communicator: any Communicator
  ) throws(System.Failure) -> Outcome {
    let folder = try ModelFolder("\(Golden.folder)/tiny-bert", labels: 2)
    var configuration = folder.configuration
    // Its masks would follow the number of the step, which the program that forgets windows does not count.
    configuration.setDropout(0)
    let model = way.sharesMemory ? try Model(configuration, communicator) : Model(configuration)
    if communicator.isMain {
      _ = try model.loadWeights(folder: folder.path, seed: 1)
      let columns = folder.configuration.hiddenSize
      for index in Self.word * columns..<(Self.word + 1) * columns { model.parameters.pointer[index] = 3e38 }
    }
    try model.broadcast(communicator)
    let rows = try TokenizedDataset(
      loadSplit(.mrpc, folder: "\(Golden.folder)/mrpc", split: .train), tokenizer: folder.tokenizer,
      maxLength: folder.configuration.maximumPositions)
    let loader = try loader(rows, way, communicator)
    let engine = try TrainingEngine(
      communicator, model: model, optimizer: .init(weightDecay: 0.01, nonFinite: discards ? .stop : .skip),
      limits: loader.limits, threads: ThreadPool(count: 1), seed: 42, maxGradientNorm: way.maxGradientNorm,
      wire: way.wire, grouping: loader.grouping)
    var outcome = Outcome()
    for epoch in 0..<Self.epochs {
      for (number, microBatch) in loader.epoch(epoch).enumerated() {
        let window = number / way.accumulationSteps
        let last = (window + 1) * way.accumulationSteps * 12
        let isBad = (window * way.accumulationSteps * 12..<last).contains { [47, 48, 58].contains($0) }
        if discards && isBad { continue }
        try engine.backward(microBatch)
        guard microBatch.isLastInStep else { continue }
        let rate = 1e-3 / Double(engine.optimizer.step + 1)
        outcome.reports.append(try engine.step(learningRate: rate))
      }
    }
    outcome.weights = model.parameters.digest
    outcome.isFinite = model.parameters.buffer.allSatisfy(\.isFinite)
    outcome.taken = engine.optimizer.step
    outcome.skipped = engine.skippedSteps
    return outcome
  }

  private func loader(
    _ rows: TokenizedDataset, _ way: Way, _ communicator: any Communicator
  ) throws(System.Failure) -> MicroBatchLoader {
    if way.reduction == .invariant {
      return try MicroBatchLoader(
        inGroups: rows, plan: ShardPlan(datasetSize: rows.count, batchSize: 12, ranks: 1), rank: communicator.rank,
        ranks: communicator.size, order: .file, accumulationSteps: way.accumulationSteps)
    }
    let plan = try ShardPlan(datasetSize: rows.count, batchSize: 12, ranks: communicator.size, splitBatches: true)
    return try MicroBatchLoader(
      rows, plan: plan, rank: communicator.rank, order: .file, accumulationSteps: way.accumulationSteps)
  }

  /// Steps of all: 6 batches an epoch, of which the fourth and the fifth hold the word.
  private func expectOnlyBadStepsLeftOut(_ outcomes: [Outcome], _ way: Way) throws {
    let perEpoch = 6 / way.accumulationSteps
    let bad = way.accumulationSteps == 1 ? [4, 5] : [2, 3]
    for (rank, outcome) in outcomes.enumerated() {
      #expect(outcome.reports.map(\.step) == Array(1...perEpoch * Self.epochs), "rank \(rank)")
      let left = outcome.reports.filter { $0.skipped != nil }.map(\.step)
      #expect(left == (0..<Self.epochs).flatMap { epoch in bad.map { $0 + epoch * perEpoch } }, "rank \(rank)")
      #expect(outcome.skipped == left.count && outcome.taken == outcome.reports.count - left.count, "rank \(rank)")
      #expect(outcome.isFinite, "rank \(rank)")
      #expect(outcome.weights == outcomes[0].weights, "rank \(rank)")
      for (report, first) in zip(outcome.reports, outcomes[0].reports) {
        #expect(report.skipped == first.skipped, "rank \(rank)")
      }
    }
    // Row 48 is the last of its batch, and 49 the first of the next.
    for report in try #require(outcomes.first).reports {
      guard let why = report.skipped else { continue }
      let (rank, row) = report.step % perEpoch == bad[0] % perEpoch ? (way.ranks - 1, 48) : (0, 49)
      #expect(
        why == "the loss became NaN at step \(report.step) on rank \(rank): row \(row) of the training rows, "
          + "first in the embeddings")
    }
  }

  @Test(
    "a step that is left out changes no bit: weights are those of a program that forgets the window", arguments: exact)
  func leavesNoTrace(way: Way) throws {
    let outcomes = try train(way)
    try expectOnlyBadStepsLeftOut(outcomes, way)
    let forgotten = try #require(train(way, discards: true).first)
    for outcome in outcomes {
      #expect(outcome.weights == forgotten.weights)
      let taken = outcome.reports.filter { $0.skipped == nil }
      #expect(taken.map(\.loss) == forgotten.reports.map(\.loss))
      #expect(taken.map(\.gradientNorm) == forgotten.reports.map(\.gradientNorm))
    }
  }

  @Test("nor does it where sums are on their way already, rounded ones included", arguments: others)
  func leavesNoTraceOnTheWay(way: Way) throws {
    let outcomes = try train(way)
    try expectOnlyBadStepsLeftOut(outcomes, way)
    var alone = way
    (alone.hosts, alone.sharesMemory, alone.wire) = ([1], true, .no)
    let forgotten = try #require(train(alone, discards: true).first)
    let taken = try #require(outcomes.first).reports.filter { $0.skipped == nil }
    try #require(taken.count == forgotten.reports.count)
    for (report, expected) in zip(taken, forgotten.reports) {
      #expect(relativeError(report.loss, expected.loss) < (way.wire == .no ? 1e-5 : 0.02), "step \(report.step)")
      #expect(report.gradientNorm.isFinite, "step \(report.step)")
    }
  }

  @Test(
    "a gradient that overflows names step, rank, rows and tensor, and is left out",
    arguments: [(2, true, 1), (3, false, 1), (1, true, 1), (2, true, 2), (3, false, 2)])
  func overflow(ranks: Int, sharesMemory: Bool, accumulationSteps: Int) throws {
    let bad = sharesMemory ? 0 : 1
    let outcomes = try ThreadCommunicator.run(ranks: ranks) { (communicator) throws(System.Failure) in
      let folder = try ModelFolder("\(Golden.folder)/tiny-bert", labels: 2)
      let model = sharesMemory ? try Model(folder.configuration, communicator) : Model(folder.configuration)
      if communicator.isMain { _ = try model.loadWeights(folder: folder.path, seed: 1) }
      try model.broadcast(communicator)
      if communicator.rank == bad {
        for slot in model.layout.slots where slot.name == "classifier.weight" {
          for index in slot.range { model.parameters.pointer[index] *= 1e30 }
        }
      }
      try communicator.barrier()
      let before = model.parameters.digest
      let rows = try TokenizedDataset(
        loadSplit(.mrpc, folder: "\(Golden.folder)/mrpc", split: .train), tokenizer: folder.tokenizer, maxLength: 40)
      let loader = try loader(rows, Way(hosts: [ranks], accumulationSteps: accumulationSteps), communicator)
      let engine = try TrainingEngine(
        communicator, model: model, optimizer: .init(weightDecay: 0.1, nonFinite: .skip), limits: loader.limits,
        threads: ThreadPool(count: 1), seed: 1)
      var reports: [StepReport] = []
      for microBatch in loader.epoch(0).prefix(2 * accumulationSteps) {
        try engine.backward(microBatch)
        guard microBatch.isLastInStep else { continue }
        reports.append(try engine.step(learningRate: 1))
      }
      return (reports, before == model.parameters.digest, engine.optimizer.step, engine.skippedSteps)
    }
    let perRank = 12 / ranks
    for (reports, isSame, taken, skipped) in outcomes {
      #expect(isSame && taken == 0 && skipped == 2 && reports.count == 2)
      for (index, report) in reports.enumerated() {
        let own = (0..<accumulationSteps).flatMap { batch in
          (0..<perRank).map { "\(12 * (index * accumulationSteps + batch) + bad * perRank + $0 + 1)" }
        }
        let shown = own.prefix(8).joined(separator: ", ") + (own.count > 8 ? " and \(own.count - 8) more" : "")
        let why = try #require(report.skipped)
        #expect(why.hasPrefix("the gradient of bert.pooler."), "\(why)")
        #expect(why.contains(" at step \(index + 1) on rank \(bad): rows \(shown) of the training rows"), "\(why)")
      }
    }
  }
}
