// Fine-tunes BERT on MRPC on any number of ranks. ManualLoop is the same by hand, in one process.
//
//   ./launch --num_processes 2 accelerated-loop MODEL_FOLDER MRPC_FOLDER [BATCH_SIZE]

import Lockstep

Lockstep.run { accelerator in
  let arguments = CommandLine.arguments
  guard 3...4 ~= arguments.count, let batchSize = Int(arguments.count > 3 ? arguments[3] : "8") else {
    throw Failure(.usage, "expected MODEL_FOLDER MRPC_FOLDER [BATCH_SIZE]")
  }
  let (checkpoint, data, epochs) = (arguments[1], arguments[2], 3)

  // Data.
  let tokenizer = try BertTokenizer(from: checkpoint)
  let mrpc = try GLUE.load(.mrpc, from: data).tokenized(by: tokenizer)
  let train = try DataLoader(mrpc.train, batchSize: batchSize, shuffle: true)
  let validation = try DataLoader(mrpc.validation, batchSize: batchSize)

  // Model, optimizer, schedule.
  let model = try BertForSequenceClassification(from: checkpoint, labels: 2)
  let optimizer = AdamW(model, learningRate: 3e-5)
  try accelerator.prepare(model, optimizer, train, validation)
  let schedule = LinearSchedule(optimizer, warmupSteps: 0, totalSteps: epochs * train.count)

  for epoch in 1...epochs {
    model.train()
    for batch in train {
      let output = try model(batch)
      try accelerator.backward(output.loss)

      let step = try optimizer.step()
      schedule.step()
      optimizer.zeroGrad()
      if let step { accelerator.print("step \(step.step): loss \(step.loss)") }
    }

    model.eval()
    var metric = AccuracyAndF1()
    for batch in validation {
      let output = try model(batch)
      let (predictions, references) = try accelerator.gatherForMetrics(output.classes, batch.labels)
      try metric.add(predictions: predictions, references: references)
    }
    accelerator.print("epoch \(epoch): \(metric.compute())")
  }
}
