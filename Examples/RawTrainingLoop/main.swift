// The raw training loop on MRPC, by hand: what `finetune` does, without its options, checks and progress bar.
//
//   ./launch --num_processes 2 .build/release/raw-training-loop MODEL_FOLDER MRPC_FOLDER

import Collectives
import Datasets
import FileSystem
import Training

Worker.run(program: "raw-training-loop") { (communicator) throws(Failure) in
  guard CommandLine.arguments.count == 3 else {
    throw Failure(.usage, "expected MODEL_FOLDER MRPC_FOLDER")
  }
  let (modelPath, dataPath) = (CommandLine.arguments[1], CommandLine.arguments[2])
  let (epochs, batchSize, seed) = (3, 8, 42)

  // Data: every rank tokenizes all rows once and takes its share of each batch.
  let folder = try ModelFolder(modelPath, labels: GLUETask.mrpc.labelCount)
  func tokenized(_ split: Split) throws(Failure) -> TokenizedDataset {
    try folder.tokenized(loadSplit(.mrpc, folder: dataPath, split: split))
  }
  let validation = try tokenized(.validation)
  let train = try tokenized(.train)
  let plan = try ShardPlan(datasetSize: train.count, batchSize: batchSize, ranks: communicator.size)
  let loader = try DataLoader(train, plan: plan, rank: communicator.rank, order: .shuffled(seed: seed))

  // Model, optimizer, schedule.
  let weights = try WeightPlan(.checkpoint, from: folder, communicator)
  let model = try Model(folder.configuration, communicator)
  try model.load(weights, seed: seed, communicator)
  let accelerator = try Accelerator(
    communicator, model: model, optimizer: AdamW.Options(weightDecay: 0.01), limits: loader.limits, seed: UInt64(seed))
  let schedule = LinearSchedule(peakRate: 5e-5, warmupSteps: 0, totalSteps: epochs * loader.stepsPerEpoch)

  for epoch in 0..<epochs {
    for share in loader.epoch(epoch) {
      accelerator.backward(share)
      try accelerator.step(learningRate: schedule.rate(step: accelerator.optimizer.step + 1))
    }
    let scores = try accelerator.evaluate(validation, batchSize: batchSize)
    if communicator.isMain { print("epoch \(epoch + 1): accuracy \(scores.accuracy), F1 \(scores.f1)") }
  }
}
