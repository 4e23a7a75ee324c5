import Collectives
import Datasets
import System
import Training

/// Evaluates the test rows, and writes what the model predicts for them.
func finishTest(
  _ job: Job, _ command: FinetuneCommand, _ engine: TrainingEngine, _ meter: Meter
) throws(Failure) {
  guard let test = job.test else { return }
  let rows: EvaluatedRows
  if test.labels.contains(.unknown) {
    rows = try engine.predict(test, batchSize: job.evalBatchSize)
  } else {
    let evaluation = try engine.evaluate(test, batchSize: job.evalBatchSize)
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
}
