import Glibc
import Lockstep
import System
import TestSupport
import Testing

import struct System.ExitStatus  // Testing has one too.

/// The loop that a user writes, against torch's, and against itself on other numbers of ranks.
struct LoopTests {
  static let names = ["plain", "clip and warm-up", "accumulation", "weight decay spares biases and norms"]

  private func loop(_ golden: CurveGolden) -> Loop {
    var loop = Loop()
    loop.batchSize = golden.batch_size
    loop.steps = golden.totalSteps
    loop.accumulationSteps = golden.gradient_accumulation_steps
    loop.rate = golden.peakRate
    loop.warmupSteps = golden.warmupSteps
    loop.weightDecay = golden.weightDecay
    loop.sparesBiasAndNorm = golden.sparesBiasAndNorm
    loop.maxNorm = golden.maxGradientNorm
    return loop
  }

  @Test("losses, rates, norms, logits and scores are torch's on 1, 2, 3 and 4 ranks", arguments: names, 1...4)
  func goldenCurve(name: String, ranks: Int) throws {
    let golden = try #require(CurveGolden.all()[name])
    let expected = try #require(golden.dev_logits).flatMap(\.self)
    for result in try loop(golden)(ranks: ranks) {
      try #require(result.steps.count == golden.history.count)
      for (step, torch) in zip(result.steps, golden.history) {
        #expect(relativeError(step.loss, torch.loss) <= 1e-5, "step \(step.step)")
        #expect(relativeError(step.learningRate, torch.rate) <= 1e-5, "step \(step.step)")
        #expect(relativeError(step.gradientNorm, torch.grad_norm) <= 1e-4, "step \(step.step)")
      }
      #expect(worstDifference("logits", result.logits, expected, within: 1e-5) == nil)
      #expect(result.rows == Array(0..<30), "predictions come in the order of the rows, each once")
      #expect(abs(result.scores.accuracy - (try #require(golden.accuracy))) < 1e-12)
      #expect(abs(result.scores.f1 - (try #require(golden.f1))) < 1e-12)
    }
  }

  @Test("clipping over hosts waits for the sums of all of them", arguments: [[1, 1], [2, 1]])
  func clippingOverHosts(hosts: [Int]) throws {
    let golden = try #require(CurveGolden.all()["clip and warm-up"])
    var loop = loop(golden)
    loop.hosts = hosts
    let result = try #require(loop(ranks: hosts.reduce(0, +)).first)
    try #require(result.steps.count == golden.history.count)
    for (step, torch) in zip(result.steps, golden.history) {
      #expect(relativeError(step.loss, torch.loss) <= 1e-5, "step \(step.step)")
      #expect(relativeError(step.gradientNorm, torch.grad_norm) <= 1e-4, "step \(step.step)")
    }
  }

  @Test(
    "the weights of a host change only once all its ranks step: until then one may still predict",
    arguments: [[2], [2, 2]], [nil, 1.0])
  func predictsBeforeStep(hosts: [Int], maxNorm: Double?) throws {
    let areSame = try onRanks(hosts.reduce(0, +), hosts: hosts) { accelerator -> Bool in
      let model = try BertForSequenceClassification(from: tinyModel, labels: 2)
      let optimizer = AdamW(model, learningRate: 0.1)
      let train = try DataLoader(tinyRows().train, batchSize: 12)
      try accelerator.prepare(model, optimizer, train)
      var areSame = true
      for batch in train.prefix(3) {
        try accelerator.backward(try model(batch).loss)
        if let maxNorm { try accelerator.clipGradNorm(model, maxNorm: maxNorm) }
        if accelerator.isLocalMainProcess {
          let before = try model.predict(batch).logits.values
          usleep(30_000)
          areSame = try model.predict(batch).logits.values == before && areSame
        }
        try optimizer.step()
        optimizer.zeroGrad()
      }
      return areSame
    }
    #expect(areSame.allSatisfy { $0 }, "\(areSame)")
  }

  @Test("a step that failed over bad numbers fails again where it is tried again", .timeLimit(.minutes(1)))
  func badStepAgain() throws {
    let statuses = try onRanks(2, hosts: [1, 1]) { accelerator -> [ExitStatus?] in
      let model = try BertForSequenceClassification(from: tinyModel, labels: 2)
      let optimizer = AdamW(model, learningRate: 1e38)
      let train = try DataLoader(tinyRows().train, batchSize: 12)
      try accelerator.prepare(model, optimizer, train)
      var statuses: [ExitStatus?] = []
      for (number, batch) in train.prefix(2).enumerated() {
        try accelerator.backward(try model(batch).loss)
        for _ in 0...number { statuses.append(problem { try optimizer.step() }?.status) }
        optimizer.zeroGrad()
      }
      return statuses
    }
    #expect(statuses == [[nil, .badData, .badData], [nil, .badData, .badData]])
  }

  @Test("with dropout and another order each epoch, 2, 3 and 4 ranks follow 1 within 1e-6")
  func ranks() throws {
    var loop = Loop()
    loop.dropout = 0.1
    loop.shuffles = true
    loop.rate = 3e-5
    let alone = try #require(loop(ranks: 1).first)
    for ranks in 2...4 {
      let result = try #require(loop(ranks: ranks).first)
      try #require(result.steps.count == alone.steps.count)
      for (step, first) in zip(result.steps, alone.steps) {
        #expect(relativeError(step.loss, first.loss) <= 1e-6, "\(ranks) ranks, step \(step.step)")
      }
      #expect(result.predictions == alone.predictions)
    }
  }

  @Test("two batches to a step equal one of twice the size", arguments: 1...3)
  func accumulation(ranks: Int) throws {
    var loop = Loop()
    loop.steps = 5
    let whole = try #require(loop(ranks: ranks).first)
    loop.batchSize = 6
    loop.accumulationSteps = 2
    let halves = try #require(loop(ranks: ranks).first)
    try #require(halves.steps.count == whole.steps.count)
    for (half, whole) in zip(halves.steps, whole.steps) {
      #expect(relativeError(half.loss, whole.loss) <= 1e-5, "step \(half.step)")
      #expect(relativeError(half.gradientNorm, whole.gradientNorm) <= 1e-4, "step \(half.step)")
    }
  }

  @Test("batches that noSync holds back count in the next step, on one host and on several", arguments: [nil, [1, 1]])
  func noSync(hosts: [Int]?) throws {
    let losses = try onRanks(2, hosts: hosts) { accelerator in
      let train = try DataLoader(tinyRows().train, batchSize: 6)
      let model = try BertForSequenceClassification(from: tinyModel, labels: 2, dropout: 0)
      let optimizer = AdamW(model, learningRate: 1e-3)
      try accelerator.prepare(model, optimizer, train)
      var losses: [Double] = []
      for (index, batch) in train.enumerated() where index < 6 {
        let loss = try model(batch).loss / 2
        if index % 2 == 0 {
          try accelerator.noSync(model) { try accelerator.backward(loss) }
          continue
        }
        try accelerator.backward(loss)
        losses.append(try #require(try optimizer.step()).loss)
        optimizer.zeroGrad()
      }
      return losses
    }
    var loop = Loop()
    loop.steps = 3
    loop.batchSize = 6
    loop.accumulationSteps = 2
    let expected = try #require(loop(ranks: 1).first).steps
    try #require(losses[0].count == 3 && losses[1] == losses[0])
    // The rate is constant there and falls here: only the first two losses see the same weights.
    for index in 0..<1 { #expect(relativeError(losses[0][index], expected[index].loss) <= 1e-5) }
  }

  @Test("a frozen encoder keeps every bit, and its head follows a head alone on more ranks", arguments: [[4], [2, 1]])
  func frozenEncoder(hosts: [Int]) throws {
    var loop = Loop()
    loop.freezesEncoder = true
    loop.steps = 6
    let alone = try #require(loop(ranks: 1).first)
    loop.hosts = hosts
    let several = try #require(loop(ranks: hosts.reduce(0, +)).first)
    try #require(several.steps.count == 6 && alone.steps.count == 6)
    for (step, first) in zip(several.steps, alone.steps) {
      #expect(relativeError(step.loss, first.loss) <= 1e-5)
      #expect(relativeError(step.gradientNorm, first.gradientNorm) <= 1e-4)
    }
    #expect(alone.steps[0].loss != alone.steps[5].loss)

    let folder = try TemporaryFolder()
    let saved = "\(folder.path)/saved"
    _ = try onRanks(2) { accelerator in
      let train = try DataLoader(tinyRows().train, batchSize: 12)
      let model = try BertForSequenceClassification(from: tinyModel, labels: 2, freezesEncoder: true)
      let optimizer = AdamW(model, learningRate: 1e-2)
      try accelerator.prepare(model, optimizer, train)
      for batch in train {
        try accelerator.backward(model(batch).loss)
        try optimizer.step()
        optimizer.zeroGrad()
      }
      try accelerator.save(model, to: saved)
    }
    let (before, after) = (try tensors(tinyModel), try tensors(saved))
    for (name, values) in after {
      let isHead = name.hasPrefix("classifier") || name.hasPrefix("bert.pooler")
      #expect((values == before[name]) == !isHead, "\(name)")
    }
  }
}
