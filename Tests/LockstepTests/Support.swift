import Collectives
import Lockstep
import System
import TestSupport
import Testing

let tinyModel = "\(Golden.folder)/tiny-bert"
let tinyData = "\(Golden.folder)/mrpc"

/// Runs `body` as each of so many ranks, threads of this process; the results by rank.
func onRanks<Result: Sendable>(
  _ ranks: Int, hosts: [Int]? = nil, accumulating steps: Int = 1, splitting: Bool = true,
  lockstepCheck: Int = 50, _ body: @escaping @Sendable (Accelerator) throws -> Result
) throws -> [Result] {
  var options = RunOptions()
  options.gradientAccumulationSteps = steps
  options.splitBatches = splitting
  options.lockstepCheck = lockstepCheck
  let chosen = options
  let run: @Sendable (any Communicator) throws(System.Failure) -> Result? = {
    (communicator) throws(System.Failure) in
    var result: Result?
    try runRank(communicator, chosen) { result = try body($0) }
    return result
  }
  if ranks == 1 {
    let alone = try run(SoloCommunicator())
    return [try #require(alone)]
  }
  return try ThreadCommunicator.run(ranks: ranks, hosts: hosts) { (communicator) throws(System.Failure) in
    try run(communicator)
  }.map { try #require($0) }
}

/// What `body` throws.
func problem<Value>(_ body: () throws -> Value) -> System.Failure? {
  do {
    _ = try body()
    return nil
  } catch { return error as? System.Failure }
}

func tinyRows() throws -> GLUE.Tokenized {
  try GLUE.load(.mrpc, from: tinyData).tokenized(by: BertTokenizer(from: tinyModel))
}

/// A training as a user writes it.
struct Loop: Sendable {
  var batchSize = 12
  var steps = 12
  var accumulationSteps = 1
  var rate = 1e-3
  var warmupSteps = 0
  var weightDecay = 0.01
  var sparesBiasAndNorm = false
  var maxNorm: Double?
  var dropout = 0.0
  var shuffles = false
  var hosts: [Int]?
  var freezesEncoder = false
  var head: (any TaskHead)?

  struct Result: Sendable {
    var steps: [StepReport] = []
    var predictions: [Int] = []
    var rows: [Int] = []
    var logits: [Float] = []
    var scores = AccuracyAndF1().compute()
  }

  func callAsFunction(ranks: Int) throws -> [Result] {
    try onRanks(ranks, hosts: hosts, accumulating: accumulationSteps) { accelerator in try result(accelerator) }
  }

  private func result(_ accelerator: Accelerator) throws -> Result {
    let rows = try tinyRows()
    let train = try DataLoader(rows.train, batchSize: batchSize, shuffle: shuffles)
    // The last round leaves some ranks without a row.
    let validation = try DataLoader(rows.validation, batchSize: 12)
    let model = try BertForSequenceClassification(
      from: tinyModel, labels: 2, head: head, dropout: dropout, freezesEncoder: freezesEncoder)
    let optimizer = AdamW(
      model, learningRate: rate, weightDecay: weightDecay, sparesBiasAndNorm: sparesBiasAndNorm)
    try accelerator.prepare(model, optimizer, train, validation)
    let schedule = LinearSchedule(optimizer, warmupSteps: warmupSteps, totalSteps: steps)
    var result = Result()
    training: while true {
      for batch in train {
        let output = try model(batch)
        try accelerator.backward(output.loss)
        if let maxNorm { try accelerator.clipGradNorm(model, maxNorm: maxNorm) }
        // Also within a window, where all three do nothing.
        let step = try optimizer.step()
        schedule.step()
        optimizer.zeroGrad()
        if let step { result.steps.append(step) }
        if result.steps.count == steps { break training }
      }
    }
    model.eval()
    var metric = AccuracyAndF1()
    for batch in validation {
      let output = try model(batch)
      let (predictions, references) = try accelerator.gatherForMetrics(output.classes, batch.labels)
      try metric.add(predictions: predictions, references: references)
      result.predictions += predictions
      result.rows += try accelerator.gatherForMetrics(batch.rows)
      result.logits += try accelerator.gatherForMetrics(output.logits).values
    }
    result.scores = metric.compute()
    return result
  }
}
