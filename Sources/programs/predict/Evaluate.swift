import Collectives
import Datasets
import Inference
import Reporting
import System
import Tokenization
import Training

/// Measures a model, and another one on the same rows, and prints what was found on rank 0.
func evaluate(
  _ command: EvaluateCommand, _ communicator: any Communicator, _ settings: RankSettings, _ reporter: Reporter
) throws(Failure) {
  try communicator.agree { () throws(Failure) in try command.check() }
  let first = try measure(command, command.model, communicator, settings)
  let second = try command.against.map { (path) throws(Failure) in try measure(command, path, communicator, settings) }
  let result = try communicator.agree { () throws(Failure) -> EvaluationResult? in
    guard communicator.isMain else { return nil }
    // Numbers of one model's classes mean other classes in another.
    if let second, second.labels != first.labels {
      throw Failure(
        .badData, at: "--against", "\(command.against ?? "") has other classes than \(command.model)",
        hint: "compare models of one task")
    }
    let bootstrap = Bootstrap(resamples: command.bootstrap, seed: UInt64(bitPattern: Int64(command.seed)))
    return try EvaluationResult(first, against: second, bootstrap)
  }
  guard let result else { return }
  if command.json { return try writeToStandardOutput(result.json.bytes) }
  for line in result.lines { try reporter.line(line) }
}

private func measure(
  _ command: EvaluateCommand, _ path: String, _ communicator: any Communicator, _ settings: RankSettings
) throws(Failure) -> MeasuredModel {
  let predictor = try command.options.predictor(path, program: "evaluate", communicator, settings)
  let files = try communicator.readOnMain(
    try communicator.agree { () throws(Failure) in try command.inputPaths() })
  let (dataset, name, metric, cut) = try communicator.agree { () throws(Failure) in
    let (pairs, name, metrics) = try command.labelledRows(predictor, path: path, files: files)
    var encoder = RowEncoder(predictor.folder.tokenizer, maxLength: predictor.maxLength)
    var rows: [Encoding] = []
    rows.reserveCapacity(pairs.count)
    for pair in pairs { rows.append(try encoder.encode(pair.first, pair.second)) }
    let dataset = try TokenizedDataset(rows: rows, labels: pairs.map(\.label), padID: predictor.folder.tokenizer.padID)
    try dataset.check(against: predictor.folder.configuration, name: name)
    let metric = try TaskMetric(
      command.evalMetrics.isEmpty ? metrics : command.evalMetrics, for: predictor.labels.taskLabels)
    return (dataset, name, metric, encoder.cutCount)
  }
  try communicator.requireSame(
    [("the rows", String(dataset.fingerprint, radix: 16))], hint: "give every rank the same options")
  let evaluation = try predictor.evaluate(dataset)
  if communicator.isMain { noteCut(cut, of: dataset.count, predictor, "evaluate") }
  return MeasuredModel(
    path: CacheOrigin.shown(path), data: name, labels: predictor.labels, metric: metric, evaluation: evaluation)
}
