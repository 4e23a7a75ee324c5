import Lockstep
import System
import TestSupport
import Testing

/// Local steps with averages in between.
struct LocalSGDTests {
  /// The weights' tensors after so many local steps, the losses of each rank, and what was called in a wrong order.
  private func train(ranks: Int, every steps: Int, _ saved: String) throws -> [[Double]] {
    try onRanks(ranks) { accelerator in
      let train = try DataLoader(tinyRows().train, batchSize: 12)
      let model = try BertForSequenceClassification(from: tinyModel, labels: 2, dropout: 0)
      let optimizer = AdamW(model, learningRate: 1e-3)
      try accelerator.prepare(model, optimizer, train)
      let losses = try LocalSGD.run(accelerator, model, steps: steps) { local in
        try train.prefix(2).map { batch in
          let loss = try model(batch).loss
          try accelerator.backward(loss)
          try optimizer.step()
          optimizer.zeroGrad()
          try local.step()
          return loss.value
        }
      }
      try accelerator.save(model, to: saved)
      let batch = try #require(train.first { _ in true })
      let later = problem { try accelerator.backward(model(batch).loss) }
      #expect(later?.place == "LocalSGD", "training goes on without the optimizer's state")
      return losses
    }
  }

  @Test("on one rank it is the usual training; on two each has its own losses and all end with the average")
  func average() throws {
    let folder = try TemporaryFolder()
    let alone = try train(ranks: 1, every: 1, "\(folder.path)/alone")
    var loop = Loop()
    loop.steps = 2
    let usual = try #require(loop(ranks: 1).first).steps
    try #require(alone.count == 1 && alone[0].count == 2 && usual.count == 2)
    #expect(relativeError(alone[0][0], usual[0].loss) < 1e-6)

    let two = try train(ranks: 2, every: 2, "\(folder.path)/two")
    try #require(two.count == 2)
    #expect(two[0] != two[1])
    // Halves of the batch that one rank had: at the same weights their mean is its loss.
    #expect(relativeError((two[0][0] + two[1][0]) / 2, alone[0][0]) < 1e-5)
    // An average after each step changes the next one's loss.
    let often = try train(ranks: 2, every: 1, "\(folder.path)/often")
    #expect(often[0][0] == two[0][0] && often[0][1] != two[0][1])
    let (start, end) = (try tensors(tinyModel), try tensors("\(folder.path)/two"))
    let name = "bert.encoder.layer.0.output.dense.weight"
    let moved = try zip(#require(start[name]), #require(end[name])).map { abs($0 - $1) }.max() ?? 0
    // Two steps of Adam at 1e-3 move a weight by 2e-3 at most.
    #expect(moved > 1e-4 && moved < 2.2e-3, "\(moved)")
  }
}
