import Lockstep
import System
import TestSupport
import Testing

/// `accelerator.saveState` and `loadState`.
struct StateTests {
  /// Counts what a program counts.
  private final class Counter: CheckpointedState {
    var value = 0
    func savedState() -> String { "\(value)" }
    func restore(_ state: String) throws {
      guard let value = Int(state) else { throw System.Failure(.badData, "\"\(state)\" is no number") }
      self.value = value
    }
  }

  private struct Result: Sendable {
    var losses: [Double] = []
    var predictions: [Int] = []
    var counted = 0
    var resumedAt = 0
  }

  /// Trains an epoch and a half: in one go, up to the step that it saves at, or from there on.
  private func train(ranks: Int, upTo last: Int, saving folder: String? = nil, from state: String? = nil) throws
    -> Result
  {
    let results = try onRanks(ranks, accumulating: 2) { accelerator -> Result in
      let rows = try tinyRows()
      let model = try BertForSequenceClassification(from: tinyModel, labels: 2, dropout: 0.2)
      let optimizer = AdamW(model, learningRate: 1e-3)
      let train = try DataLoader(rows.train, batchSize: 12, shuffle: true)
      let validation = try DataLoader(rows.validation, batchSize: 12)
      try accelerator.prepare(model, optimizer, train, validation)
      let schedule = LinearSchedule(optimizer, warmupSteps: 0, totalSteps: 12)
      let counter = Counter()
      accelerator.registerForCheckpointing(counter)
      var result = Result()
      if let state {
        result.resumedAt = try accelerator.loadState(from: state)
        schedule.step()
      }
      var skipped = result.resumedAt * 2
      while optimizer.steps < last {
        let loader = skipped > 0 ? try accelerator.skipFirstBatches(train, skipped) : train
        skipped = 0
        for batch in loader {
          let output = try model(batch)
          try accelerator.backward(output.loss)
          if let report = try optimizer.step() {
            result.losses.append(report.loss)
            counter.value += 1
          }
          schedule.step()
          optimizer.zeroGrad()
          if optimizer.steps == last { break }
        }
      }
      if let folder { try accelerator.saveState(to: folder) }
      for batch in validation {
        result.predictions += try accelerator.gather(try model.predict(batch).classes)
      }
      result.counted = counter.value
      return result
    }
    return try #require(results.first)
  }

  @Test(
    "a training goes on from its saved state with the same numbers, the registered ones included", arguments: [1, 2])
  func goesOn(ranks: Int) throws {
    let folder = try TemporaryFolder()
    // Within the first epoch, so that the batches before can be skipped.
    let whole = try train(ranks: ranks, upTo: 3)
    let first = try train(ranks: ranks, upTo: 1, saving: "\(folder.path)/state")
    let rest = try train(ranks: ranks, upTo: 3, from: "\(folder.path)/state")
    #expect(rest.resumedAt == 1)
    #expect(first.losses + rest.losses == whole.losses)
    #expect(rest.predictions == whole.predictions)
    #expect(rest.counted == 3)
  }

  @Test("what is no state, and a state of other registered objects, are refused")
  func refuses() throws {
    let folder = try TemporaryFolder()
    let path = folder.path
    let missing = problem { try train(ranks: 1, upTo: 3, from: folder.path) }
    #expect(missing?.status == .missingInput)
    let untrained = problem {
      try onRanks(1) { accelerator in
        let model = try BertForSequenceClassification(from: tinyModel, labels: 2)
        try accelerator.prepare(model)
        try accelerator.saveState(to: path)
      }
    }
    #expect(untrained?.status == .internalError)
    _ = try train(ranks: 2, upTo: 1, saving: "\(folder.path)/state")
    let other = problem {
      try onRanks(1) { accelerator in
        let model = try BertForSequenceClassification(from: tinyModel, labels: 2)
        let optimizer = AdamW(model, learningRate: 1e-3)
        try accelerator.prepare(model, optimizer)
        try accelerator.loadState(from: "\(path)/state")
      }
    }
    #expect(other?.status == .badData)
  }
}
