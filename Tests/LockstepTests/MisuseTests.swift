import Lockstep
import System
import TestSupport
import Testing

/// Calls in a wrong order are errors that name the call, never wrong numbers.
struct MisuseTests {
  private func set() throws -> (BertForSequenceClassification, AdamW, DataLoader) {
    let model = try BertForSequenceClassification(from: tinyModel, labels: 2)
    return (model, AdamW(model, learningRate: 1e-3), try DataLoader(tinyRows().train, batchSize: 4))
  }

  private func expect(
    _ failure: System.Failure?, at place: String, says: String, at location: SourceLocation = #_sourceLocation
  ) {
    #expect(
      failure?.place == place && failure?.description.contains(says) == true, "\(failure?.description ?? "nothing")",
      sourceLocation: location)
    #expect(failure?.status == .internalError, sourceLocation: location)
  }

  @Test("by hand: step without backward, twice, backward without zeroGrad, of an old forward, twice")
  func order() throws {
    let (model, optimizer, loader) = try set()
    expect(problem { try optimizer.step() }, at: "optimizer.step", says: "no gradients")
    let batches = Array(loader.prefix(3))
    try #require(batches.count == 3)
    let first = try model(batches[0]).loss
    let second = try model(batches[1]).loss
    expect(problem { try first.backward() }, at: "loss.backward", says: "another batch since")
    try second.backward()
    expect(problem { try second.backward() }, at: "loss.backward", says: "second time")
    try optimizer.step()
    expect(problem { try optimizer.step() }, at: "optimizer.step", says: "second time")
    let third = try model(batches[2]).loss
    expect(problem { try third.backward() }, at: "loss.backward", says: "zeroGrad after step")
    optimizer.zeroGrad()
    try third.backward()
    try optimizer.step()
  }

  @Test("evaluation has no way back, and a second optimizer does not go unnoticed")
  func others() throws {
    let (model, optimizer, loader) = try set()
    let batch = try #require(loader.first { _ in true })
    model.eval()
    expect(problem { try model(batch).loss.backward() }, at: "loss.backward", says: "evaluation")
    model.train()
    try model(batch).loss.backward()
    _ = AdamW(model, learningRate: 1)
    #expect(problem { try optimizer.step() } != nil)
  }

  @Test("gradients that zeroGrad forgets do not count in the step")
  func discarded() throws {
    func loss(afterDiscarded: Bool) throws -> StepReport {
      let model = try BertForSequenceClassification(from: tinyModel, labels: 2, dropout: 0)
      let optimizer = AdamW(model, learningRate: 1e-3)
      let batches = Array(try DataLoader(tinyRows().train, batchSize: 4).prefix(2))
      if afterDiscarded {
        try model(batches[0]).loss.backward()
        optimizer.zeroGrad()
      }
      try model(batches[1]).loss.backward()
      return try #require(try optimizer.step())
    }
    #expect(try loss(afterDiscarded: true) == loss(afterDiscarded: false))
  }

  @Test("what was not prepared, or prepared twice by others, is refused on any number of ranks", arguments: [1, 2])
  func unprepared(ranks: Int) throws {
    let problems = try onRanks(ranks) { accelerator -> [System.Failure?] in
      let (model, optimizer, loader) = try MisuseTests().set()
      let other = try DataLoader(loader.dataset, batchSize: 4)
      try accelerator.prepare(model, optimizer, loader)
      try accelerator.prepare(model, optimizer, loader)
      let foreign = try #require(other.first { _ in true })
      let own = try #require(loader.first { _ in true })
      var problems = [problem { try model(foreign) }]
      problems.append(problem { try accelerator.gatherForMetrics([1, 2, 3, 4, 5, 6, 7]) })
      try accelerator.backward(model(own).loss)
      let again = try model(own).loss
      problems.append(problem { try accelerator.backward(again) })
      optimizer.zeroGrad()
      return problems
    }
    for found in problems {
      try #require(found.count == 3)
      expect(found[0], at: "model(batch)", says: "not passed to Accelerator.prepare")
      expect(found[1], at: "accelerator.gatherForMetrics", says: "7 values for a batch of")
      expect(found[2], at: "loss.backward", says: "a whole window are on their way")
    }
  }

  @Test("rows without labels are predicted; their loss and their score are errors") func unlabelled() throws {
    let rows = try GLUE.load(.mrpc, from: tinyData, split: .validation).map {
      SentencePair(first: $0.first, second: $0.second, label: .unknown)
    }
    let dataset = try TokenizedDataset(rows, tokenizer: BertTokenizer(from: tinyModel))
    let loader = try DataLoader(dataset, batchSize: 8)
    let model = try BertForSequenceClassification(from: tinyModel, labels: 2)
    _ = AdamW(model, learningRate: 1e-3)
    var metric = AccuracyAndF1()
    var count = 0
    for batch in loader {
      let output = try model.predict(batch)
      count += output.classes.count
      #expect(batch.labels.allSatisfy { $0 == -1 })
      #expect(problem { try output.loss }?.description.contains("has no label, the model has 2 outputs") == true)
      #expect(problem { try model(batch).loss.backward() }?.status == .badData)
      #expect(problem { try metric.add(predictions: output.classes, references: batch.labels) } != nil)
    }
    #expect(count == 30)
  }

  @Test("a sampler that leaves the data set, and a loss of a wrong shape") func closures() throws {
    struct Stray: Sampler {
      var count: Int { 4 }
      func order(epoch: Int) -> [Int] { [0, 1, 2, 4000] }
    }
    let (model, _, _) = try set()
    let loader = try DataLoader(tinyRows().train, batchSize: 4, sampler: Stray())
    let stray = try #require(loader.first { _ in true })
    expect(problem { try model(stray) }, at: "Sampler.order", says: "1 of them outside")
    let batch = try #require(DataLoader(tinyRows().train, batchSize: 4).first { _ in true })
    let output = try model(batch)
    let wrong = problem { try output.loss { _, _ in (0, Matrix(rows: 1, columns: 2)) } }
    expect(wrong, at: "output.loss", says: "shape [1, 2] for logits of shape [4, 2]")
  }

  @Test(
    "a rate that depends on the rank ends the job at the next lockstep check, unless there is none", arguments: [2, 0])
  func rateOfRank(lockstepCheck: Int) throws {
    let found = problem {
      try onRanks(2, lockstepCheck: lockstepCheck) { accelerator in
        let model = try BertForSequenceClassification(from: tinyModel, labels: 2)
        let optimizer = AdamW(model, learningRate: accelerator.isMainProcess ? 1e-3 : 2e-3)
        let train = try DataLoader(tinyRows().train, batchSize: 12)
        try accelerator.prepare(model, optimizer, train)
        for batch in train.prefix(3) {
          try accelerator.backward(try model(batch).loss)
          try optimizer.step()
          optimizer.zeroGrad()
        }
      }
    }
    #expect(found?.status == (lockstepCheck == 0 ? nil : .disagreement), "\(found?.description ?? "nothing")")
    if lockstepCheck > 0 {
      #expect(
        found?.description.contains("at step 2 with the learning rate 0.002") == true, "\(found?.description ?? "")")
    }
  }

  @Test("a lockstep check every -1 steps is refused")
  func negativeCheck() {
    let found = problem { try onRanks(1, lockstepCheck: -1) { _ in } }
    #expect(found?.status == .usage && found?.description.contains("-1") == true, "\(found?.description ?? "nothing")")
  }
}
