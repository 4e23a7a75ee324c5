// A task of one's own on the library: a data set, a sampler, a head, a loss and a metric that it does not have, on an
// encoder that stays as it is, with early stopping that all ranks take together.
//
//   ./launch --num_processes 2 own-task MODEL_FOLDER MRPC_FOLDER

import Lockstep

Lockstep.run { accelerator in
  let arguments = CommandLine.arguments
  guard arguments.count == 3 else { throw Failure(.usage, "expected MODEL_FOLDER MRPC_FOLDER") }
  let (checkpoint, data, mostEpochs, patience) = (arguments[1], arguments[2], 10, 2)

  let tokenizer = try BertTokenizer(from: checkpoint)
  let trainRows = try bothOrders(of: GLUE.load(.mrpc, from: data, split: .train), tokenizer)
  let validationRows = try bothOrders(of: GLUE.load(.mrpc, from: data, split: .validation), tokenizer)
  let train = try DataLoader(trainRows, batchSize: 8, sampler: BalancedSampler(trainRows.labels, seed: 1))
  let validation = try DataLoader(validationRows, batchSize: 8)

  let head = TwoLayerHead(width: 32, outputs: 2)
  let model = try BertForSequenceClassification(from: checkpoint, head: head, freezesEncoder: true)
  let optimizer = AdamW(model, learningRate: 1e-3)
  try accelerator.prepare(model, optimizer, train, validation)

  var best = -Double.infinity
  var epochsWithoutProgress = 0
  accelerator.acceptStop()
  for epoch in 1...mostEpochs {
    model.train()
    for batch in train {
      let loss = try model(batch).loss(focalLoss)
      try accelerator.backward(loss)
      try accelerator.clipGradNorm(model, maxNorm: 1)
      try optimizer.step()
      optimizer.zeroGrad()
      if accelerator.shouldStop { return accelerator.print("stopped after step \(optimizer.steps), as asked") }
    }

    model.eval()
    var kappa = CohensKappa()
    var predictions: [(row: Int, predicted: Int)] = []
    for batch in validation {
      let classes = try model(batch).classes
      let (rows, predicted) = try accelerator.gatherForMetrics(batch.rows, classes)
      let references = try accelerator.gatherForMetrics(batch.labels)
      kappa.add(predictions: predicted, references: references)
      predictions += zip(rows, predicted).map { ($0, $1) }
    }
    accelerator.print("epoch \(epoch): kappa \(kappa.value) on \(kappa.count) rows")
    // The loader does not shuffle, so the rows come in their order.
    let first = predictions.prefix(8).map { "\($0.row + 1):\($0.predicted)" }
    accelerator.print("  predictions \(first.joined(separator: " ")) ...")

    // Rank 0 decides, and all stop together.
    if kappa.value > best { epochsWithoutProgress = 0 } else { epochsWithoutProgress += 1 }
    best = max(best, kappa.value)
    if accelerator.isMainProcess, epochsWithoutProgress >= patience { accelerator.setTrigger() }
    if try accelerator.checkTrigger() { return accelerator.print("no progress in \(patience) epochs: stopped early") }
  }
}
