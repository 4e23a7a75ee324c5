import Collectives
import Datasets
import System
import Training

/// Evaluates the test rows, and writes what the model predicts for them; false on every rank where the user asked one of them
/// to stop meanwhile.
func finishTest(
  _ job: Job, _ command: FinetuneCommand, _ engine: TrainingEngine, _ meter: Meter
) throws(Failure) -> Bool {
  guard let test = job.test else { return true }
  let rows: EvaluatedRows
  if test.labels.contains(.unknown) {
    guard let found = try engine.predictUnlessStopped(test, batchSize: job.evalBatchSize) else { return false }
    rows = found
  } else {
    guard let evaluation = try engine.evaluateUnlessStopped(test, batchSize: job.evalBatchSize) else { return false }
    try meter.record(test: evaluation, step: engine.steps)
    rows = evaluation.rows
  }
  try engine.communicator.agree { () throws(Failure) in
    guard let path = command.tables.predictions, engine.communicator.isMain else { return }
    let names: TaskLabels =
      switch job.labels {
      case .classes: .classes(job.labelNames)
      case .classSets, .scores: job.labels
      }
    try PredictionsFile.write(rows, names, to: path)
  }
  return true
}
