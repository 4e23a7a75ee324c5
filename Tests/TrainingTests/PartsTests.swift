import BERT
import Collectives
import DataParallel
import Datasets
import Kernels
import Reporting
import System
import TestSupport
import Testing
import Training

/// The parts of training, each alone.
struct PartsTests {
  @Test("accuracy and F1 are scikit-learn's")
  func metrics() throws {
    try check(try Golden.json("metrics.json", as: [MetricsGolden].self))
  }

  @Test("the reference's too", .needs(.reference))
  func referenceMetrics() throws {
    try check(try Golden.json(path: Golden.inReference("golden/metrics.json"), as: [MetricsGolden].self))
  }

  private func check(_ goldens: [MetricsGolden]) throws {
    #expect(goldens.count >= 20)
    for golden in goldens {
      var counts = ClassificationCounts()
      for (label, prediction) in zip(golden.labels, golden.predictions) {
        counts.add(label: label, prediction: prediction)
      }
      #expect(abs(counts.accuracy - golden.accuracy) <= 1e-12 && abs(counts.f1 - golden.f1) <= 1e-12)
      #expect(counts.examples == golden.labels.count)
    }
    #expect(ClassificationCounts().accuracy == 0 && ClassificationCounts().f1 == 0)
  }

  @Test("the schedule rises from 0 in the warm-up and falls to 0")
  func schedule() {
    let schedule = LinearRate(peakRate: 8, warmupSteps: 4, totalSteps: 12)
    #expect((1...13).map { schedule.rate(step: $0) } == [0, 2, 4, 6, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    #expect((1...3).map { LinearRate(peakRate: 6, warmupSteps: 0, totalSteps: 2).rate(step: $0) } == [6, 3, 0])
    #expect((1...3).map { LinearRate(peakRate: 6, warmupSteps: 2, totalSteps: 2).rate(step: $0) } == [0, 3, 0])
    #expect(LinearRate(peakRate: 6, warmupSteps: 0, totalSteps: 2).rate(step: 9) == 0)
  }

  @Test("runs of touched rows cover any range, and what lies behind the table")
  func wordRows() throws {
    let layout = ParameterLayout(try ModelFolder("\(Golden.folder)/tiny-bert").configuration)
    let (count, columns) = (layout.wordTable.shape[0], layout.wordTable.shape[1])
    var rows = TouchedEmbeddingRows(layout.gradients(encoderIsFrozen: false))
    for row in [0, 1, 63, 64, count - 1] {
      rows.formUnion((0..<rows.bits.count).map { $0 == row / 64 ? 1 << (row % 64) : 0 })
    }
    func runs(_ range: Range<Int>) -> [(range: Range<Int>, isTouched: Bool)] {
      var runs: [(range: Range<Int>, isTouched: Bool)] = []
      rows.forEachRun(in: range) { runs.append(($0, $1)) }
      return runs
    }
    let all = runs(0..<layout.count)
    #expect(all.map(\.isTouched) == [true, false, true, false, true])
    #expect(
      all.map(\.range.upperBound) == [2 * columns, 63 * columns, 65 * columns, (count - 1) * columns, layout.count])
    for range in [
      3..<4, 2 * columns - 1..<2 * columns + 1, 5..<5, columns..<66 * columns, layout.count - 1..<layout.count,
    ] {
      let cut = all.map { $0.range.clamped(to: range) }.filter { !$0.isEmpty }
      #expect(runs(range).map(\.range) == cut)
    }
    rows.clear()
    #expect(runs(0..<layout.count).map(\.range.upperBound) == [count * columns, layout.count])
  }

  @Test("rows of the word table without gradients get the bits that gradients of 0 give", arguments: [1, 3])
  func touchedRows(threads: Int) throws {
    let folder = try ModelFolder("\(Golden.folder)/tiny-bert")
    var numbers = Numbers(5)
    let models = (0..<2).map { _ in Model(folder.configuration) }
    for model in models { model.initialize(seed: 1) }
    let layout = models[0].layout
    let columns = layout.wordTable.shape[1]
    let options = AdamWOptimizer.Options(weightDecay: 0.1)
    let pool = ThreadPool(count: threads)
    let (dense, sparse) = (
      AdamWOptimizer(layout, options, threads: pool), AdamWOptimizer(layout, options, threads: pool)
    )
    for step in 1...4 {
      var touched = TouchedEmbeddingRows(layout.gradients(encoderIsFrozen: false))
      touched.formUnion(touched.bits.map { _ in numbers.next() & numbers.next() })
      let sources = (0..<2).map { _ in numbers.floats(layout.count) }.map { source in
        source.enumerated().map { index, value in
          let row = index / columns
          return index < layout.wordTable.count && touched.bits[row / 64] >> UInt64(row % 64) & 1 == 0 ? 0 : value
        }
      }
      sources[0].withUnsafeBufferPointer { first in
        sources[1].withUnsafeBufferPointer { second in
          let gradients = [first.baseAddress!, second.baseAddress!]
          let squares = dense.apply(
            parameters: models[0].parameters.pointer, gradients: gradients, learningRate: 0.1, gradientScale: 0.5)
          let others = sparse.apply(
            parameters: models[1].parameters.pointer, gradients: gradients, touched: touched, learningRate: 0.1,
            gradientScale: 0.5)
          // Of other pieces, each added up in fp32.
          #expect(relativeError(others, squares) < 1e-6)
          #expect(relativeError(sparse.sumOfSquares(part: 0, gradients: gradients, touched: touched), squares) < 1e-6)
        }
      }
      let isSame = Array(models[0].parameters.buffer) == Array(models[1].parameters.buffer)
      #expect(isSame, "step \(step)")
    }
  }

  @Test("without gradient only what decays moves", arguments: [false, true])
  func decay(spares: Bool) throws {
    let folder = try ModelFolder("\(Golden.folder)/tiny-bert")
    let model = Model(folder.configuration)
    model.parameters.buffer.update(repeating: 1)
    let gradients = FloatBuffer(count: model.layout.count)
    let adam = AdamWOptimizer(model.layout, .init(weightDecay: 0.5, sparesBiasAndNorm: spares))
    let squares = adam.apply(
      parameters: model.parameters.pointer, gradients: [UnsafePointer(gradients.pointer)], learningRate: 0.5)
    #expect(squares == 0)
    #expect(adam.step == 1)
    for slot in model.layout.slots {
      let isSpared = spares && (slot.name.hasSuffix("bias") || slot.name.contains("LayerNorm"))
      let expected: Float = isSpared ? 1 : 0.75
      #expect(model.parameters.buffer[slot.range].allSatisfy { $0 == expected }, "\(slot.name)")
    }
  }

  @Test("a loss that is no number names step and rank, on every rank, and updates nothing")
  func notANumber() throws {
    for bad in 0..<3 {
      let problem = failure { () throws(Failure) in
        try ThreadCommunicator.run(ranks: 3) { (communicator) throws(Failure) in
          let (model, engine, loader) = try self.setUp(communicator)
          if communicator.rank == bad { model.parameters.pointer[model.layout.count - 1] = .nan }
          for microBatch in loader.epoch(0) {
            try engine.backward(microBatch)
            _ = try engine.step(learningRate: 1)
          }
        }
      }
      #expect(
        problem?.status == .badData
          && problem?.message.hasPrefix("the loss became NaN at step 1 on rank \(bad): row ") == true
          && problem?.message.hasSuffix(", first in the head") == true,
        "\(String(describing: problem))")
    }
  }

  @Test("a gradient that overflows names a tensor and the step")
  func overflow() throws {
    let (model, engine, loader) = try setUp(SoloCommunicator())
    let slot = try #require(model.layout.slots.first { $0.name == "classifier.weight" })
    for index in slot.range { model.parameters.pointer[index] *= 1e30 }
    try engine.backward(try #require(loader.epoch(0).first { _ in true }))
    let problem = failure { () throws(Failure) in try engine.step(learningRate: 1) }
    #expect(problem?.status == .badData, "\(String(describing: problem))")
    #expect(problem?.message.contains("the gradient of bert.") == true && problem?.message.contains("step 1") == true)
  }

  @Test("the ranks' slices together are the whole step", arguments: [2, 3, 4])
  func slices(ranks: Int) throws {
    let folder = try ModelFolder("\(Golden.folder)/tiny-bert")
    let model = Model(folder.configuration)
    let whole = Model(folder.configuration)
    model.initialize(seed: 1)
    whole.initialize(seed: 1)
    let count = model.layout.count
    let gradients = FloatBuffer(count: count)
    let options = AdamWOptimizer.Options(weightDecay: 0.5, sparesBiasAndNorm: true)
    let ends = (0...ranks).map { count * $0 / ranks }
    let parts = (0..<ranks).map { AdamWOptimizer(model.layout, options, parts: [ends[$0]..<ends[$0 + 1]]) }
    let all = AdamWOptimizer(model.layout, options)
    var numbers = Numbers(4)
    for _ in 0..<3 {
      for (index, value) in numbers.floats(count).enumerated() { gradients.pointer[index] = value }
      let sources = [UnsafePointer(gradients.pointer)]
      let squares = parts.map { $0.apply(parameters: model.parameters.pointer, gradients: sources, learningRate: 0.1) }
      let expected = all.apply(parameters: whole.parameters.pointer, gradients: sources, learningRate: 0.1)
      #expect(relativeError(squares.reduce(0, +), expected) < 1e-6)
    }
    #expect(Array(model.parameters.buffer) == Array(whole.parameters.buffer))
  }

  private func setUp(_ communicator: any Communicator) throws(Failure) -> (Model, TrainingEngine, MicroBatchLoader) {
    let folder = try ModelFolder("\(Golden.folder)/tiny-bert")
    let model = Model(folder.configuration)
    _ = try model.loadWeights(folder: folder.path, seed: 1)
    let rows = try TokenizedDataset(
      loadSplit(.mrpc, folder: "\(Golden.folder)/mrpc", split: .train), tokenizer: folder.tokenizer, maxLength: 40)
    let plan = try ShardPlan(datasetSize: rows.count, batchSize: 4, ranks: communicator.size)
    let engine = try TrainingEngine(
      communicator, model: model, optimizer: .init(weightDecay: 0),
      limits: BatchLimits(tokens: rows.mostTokens(inRows: 4), sequences: 4, length: rows.longestRow), seed: 1)
    return (model, engine, try MicroBatchLoader(rows, plan: plan, rank: communicator.rank))
  }

  /// Counts rows whose logits have a margin: a metric that the library does not have.
  private struct Margin: Metric {
    var rows = 0

    mutating func add(_ rows: EvaluatedRows) throws(Failure) {
      self.rows += (0..<rows.count).count { rows.logits[2 * $0] != rows.logits[2 * $0 + 1] }
    }

    func compute() -> [MetricValue] { [MetricValue("margin", Double(rows))] }
  }

  @Test(
    "rows without labels are predicted, but not evaluated; a metric of one's own sees every row once",
    arguments: [1, 3])
  func unlabelledRows(ranks: Int) throws {
    let found = try ThreadCommunicator.run(ranks: ranks) { (communicator) throws(Failure) in
      let (model, engine, _) = try setUp(communicator)
      let pairs = try loadSplit(.mrpc, folder: "\(Golden.folder)/mrpc", split: .validation)
      let bare = pairs.map { SentencePair(first: $0.first, second: $0.second, label: .unknown) }
      let tokenizer = try ModelFolder("\(Golden.folder)/tiny-bert").tokenizer
      func dataset(_ pairs: some Collection<SentencePair>) throws(Failure) -> TokenizedDataset {
        try TokenizedDataset(pairs, tokenizer: tokenizer, maxLength: 40)
      }
      let evaluation = try engine.evaluate(dataset(pairs), batchSize: 5)
      let predicted = try engine.predictUnlessStopped(dataset(bare), batchSize: 5)
      let refusal = failure { () throws(Failure) in try engine.evaluate(dataset(bare), batchSize: 5) }
      let alone = try model.forwardBackward(asOneBatch: dataset(pairs), keepsGradients: false)
      return (evaluation.rows.logits, predicted?.logits, refusal, alone.logits, try evaluation.compute(Margin()))
    }
    for (evaluated, predicted, refusal, alone, values) in found {
      #expect(evaluated == predicted && evaluated.count == 60)
      #expect(worstDifference("logits", evaluated, alone, within: 1e-5) == nil)
      #expect(refusal?.status == .badData && refusal?.message.contains("row 1 has no label") == true)
      let margins = (0..<30).count { evaluated[2 * $0] != evaluated[2 * $0 + 1] }
      #expect(values == [MetricValue("margin", Double(margins))] && margins > 0)
    }
  }

  @Test("a loader's shares cover every row once; windows know their rows", arguments: [1, 2, 3, 4], [1, 2, 4, 7])
  func shares(ranks: Int, accumulationSteps: Int) throws {
    let folder = try ModelFolder("\(Golden.folder)/tiny-bert")
    let rows = try TokenizedDataset(
      loadSplit(.mrpc, folder: "\(Golden.folder)/mrpc", split: .train), tokenizer: folder.tokenizer, maxLength: 40)
    let plan = try ShardPlan(datasetSize: rows.count, batchSize: 12, ranks: ranks, splitBatches: true)
    let loaders = try (0..<ranks).map {
      try MicroBatchLoader(rows, plan: plan, rank: $0, order: .shuffled(seed: 3), accumulationSteps: accumulationSteps)
    }
    let epochs = loaders.map { Array($0.epoch(1)) }
    #expect(epochs.flatMap { $0.flatMap(\.rows) }.sorted() == Array(0..<62))
    #expect(epochs[0].flatMap(\.rows) != Array(loaders[0].epoch(2)).flatMap(\.rows))
    #expect(epochs[0].count { $0.isLastInStep } == loaders[0].stepsPerEpoch && epochs[0].last?.isLastInStep == true)
    var rowsInStep = 0
    for step in 0..<plan.steps {
      rowsInStep += epochs.reduce(0) { $0 + $1[step].rows.count }
      guard epochs[0][step].isLastInStep else { continue }
      #expect(epochs.allSatisfy { $0[step].rowsInStep == rowsInStep })
      rowsInStep = 0
    }
    #expect(
      failure { () throws(Failure) in try MicroBatchLoader(rows, plan: plan, rank: 0, accumulationSteps: 0) }?.status
        == .usage)
  }

  @Test("rows without labels are refused where a loss is asked for")
  func unknownLabels() throws {
    let folder = try ModelFolder("\(Golden.folder)/tiny-bert")
    let pair = SentencePair(first: Array("the otter".utf8), second: nil, label: .unknown)
    let rows = try TokenizedDataset([pair], tokenizer: folder.tokenizer)
    let problem = failure { () throws(Failure) in
      try Model(folder.configuration).forwardBackward(asOneBatch: rows, keepsGradients: false).loss
    }
    #expect(problem?.status == .badData && problem?.message.contains("row 1 has no label") == true)
  }

  @Test("memory starts at zero and has its size", arguments: [0, 1, 17])
  func floatBuffer(count: Int) {
    let buffer = FloatBuffer(count: count)
    #expect(buffer.count == count && buffer.buffer.count == count && buffer.buffer.allSatisfy { $0 == 0 })
  }

  @Test("metrics are JSON lines that can be read while they are written")
  func metricsFile() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("of an earlier run\n", "metrics")
    let file = try MetricsFile(path, option: "--metrics")
    let (_, engine, loader) = try setUp(SoloCommunicator())
    try engine.backward(try #require(loader.epoch(0).first { _ in true }))
    var report = try engine.step(learningRate: 3e-5)
    report.loss = 0.1 + 0.2
    report.gradientNorm = 1e-300
    try file.write(StepRecord(report, epoch: 0.5))
    let rows = EvaluatedRows(outputs: 2, logits: [0, 1, 1, 0], labels: [.category(1), .category(1)])
    let evaluated = Evaluation(lossSum: 3, rows: rows)
    let values = try evaluated.compute(ClassificationCounts()) + [MetricValue("pearson", .nan)]
    let record = EvaluationRecord(evaluated, values: values, epoch: 1, step: 6)
    try file.write(record)
    let lines = try readBytes(path).split(separator: UInt8(ascii: "\n"))
    #expect(lines.count == 2)
    for (index, line) in lines.enumerated() { try folder.write(Array(line), "\(index)") }
    let step = try Golden.json(path: "\(folder.path)/0", as: StepRecord.self)
    #expect(step == StepRecord(report, epoch: 0.5), "every bit of a Double survives")
    let evaluation = try Golden.json(path: "\(folder.path)/1", as: EvaluationRecord.self)
    #expect(evaluation["accuracy"] == 0.5 && evaluation["f1"] == 2.0 / 3 && evaluation.loss == 1.5)
    #expect(evaluation["pearson"]?.isNaN == true, "JSON has no NaN: null stands for it")
    #expect(evaluation.examples == 2 && evaluation.step == 6 && evaluation.epoch == 1)
    let problem = failure { () throws(Failure) in try MetricsFile(folder.path, option: "--metrics") }
    #expect(problem?.status == .cannotCreate)
  }

  @Test("numbers for people")
  func forPeople() {
    #expect([0, 7, 999, 1000, 109_483_778, -1234].map(grouped) == ["0", "7", "999", "1,000", "109,483,778", "-1,234"])
    #expect([0, 59.6, 127, 3661].map(clockTime) == ["0:00", "1:00", "2:07", "1:01:01"])
    #expect(formatted(0.6875, digits: 2) == "0.69" && scientific(3e-5) == "3.00e-05")
    #expect(formatted(0, digits: 1) == "0.0" && formatted(.nan, digits: 1) == "nan")
  }
}
