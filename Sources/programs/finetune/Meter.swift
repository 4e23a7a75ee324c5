import FileSystem
import Training

/// Keeps count of a run: progress and metrics of each step, results of each evaluation.
struct Meter {
  private let job: Job
  private let reporter: Reporter
  private let metrics: MetricsFile?
  private let clock = ContinuousClock()
  private var last: ContinuousClock.Instant
  private var trainingSeconds = 0.0
  private var rows = 0
  private var recentLosses: [Double] = []

  init(_ job: Job, _ reporter: Reporter, _ metrics: MetricsFile?) {
    self.job = job
    self.reporter = reporter
    self.metrics = metrics
    last = clock.now
  }

  /// Rows a second over all ranks, evaluation left out.
  var examplesPerSecond: Double { trainingSeconds > 0 ? Double(rows) / trainingSeconds : 0 }

  mutating func record(_ step: StepReport, epoch: Int, rows stepRows: Int) throws(Failure) {
    let now = clock.now
    trainingSeconds += (now - last).seconds
    last = now
    rows += stepRows
    let stepsPerEpoch = job.loader.stepsPerEpoch
    try metrics?.write(StepRecord(step, epoch: Double(step.step) / Double(stepsPerEpoch)))
    recentLosses.append(step.loss)
    if recentLosses.count > 20 { recentLosses.removeFirst() }
    let total = job.schedule.totalSteps
    try reporter.progress(done: step.step, of: total) {
      let loss = recentLosses.reduce(0, +) / Double(recentLosses.count)
      let left = trainingSeconds / Double(step.step) * Double(total - step.step)
      return "epoch \(epoch + 1)/\(job.epochs)  loss \(formatted(loss, digits: 4))  "
        + "lr \(scientific(step.learningRate))  \(formatted(examplesPerSecond, digits: 1)) examples/s  "
        + "\(clockTime(left)) left"
    }
  }

  mutating func record(_ counts: ClassificationCounts, step: Int, epoch: Int) throws(Failure) -> EvaluationRecord {
    let record = EvaluationRecord(counts, epoch: Double(step) / Double(job.loader.stepsPerEpoch), step: step)
    precondition(
      counts.examples == job.validation.count, "evaluated \(counts.examples) rows of \(job.validation.count)")
    try metrics?.write(record)
    try reporter.line(
      "epoch \(epoch + 1)/\(job.epochs): \(scores(counts.accuracy, counts.f1)), validation loss "
        + formatted(counts.loss, digits: 4))
    last = clock.now
    return record
  }
}

/// The end of a run: a chart of both scores, the time and the speed, and where the time went.
func summarize(
  _ evaluations: [EvaluationRecord], _ job: Job, _ meter: Meter, _ times: TimeReport, seconds: Double,
  savedTo folder: String?,
  _ reporter: Reporter
) throws(Failure) {
  try reporter.line("")
  for (name, value) in [("accuracy", \EvaluationRecord.accuracy), ("F1", \EvaluationRecord.f1)] {
    for (index, evaluation) in evaluations.enumerated() {
      let score = evaluation[keyPath: value]
      let bar = String(repeating: "#", count: Int((score * 40).rounded()))
      let label = index == 0 ? name : ""
      try reporter.line(
        label + String(repeating: " ", count: 10 - label.count) + "epoch \(index + 1)  "
          + formatted(100 * score, digits: 2) + " %  |" + bar)
    }
  }
  try reporter.line(
    "\(grouped(job.schedule.totalSteps)) steps in \(clockTime(seconds)), "
      + "\(formatted(meter.examplesPerSecond, digits: 1)) examples/s in training")
  try reporter.facts(times.lines)
  if let folder { try reporter.line("saved to \(folder)") }
}

extension Duration {
  /// As seconds.
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
