import Lockstep

Lockstep.run {
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
}
