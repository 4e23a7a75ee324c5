import Reporting
import RunReport
import System
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
  private let firstStep: Int
  private var recentLosses: [Double] = []
  /// Every step so far, for the report; on rank 0.
  private(set) var steps: [RunRecord.Step] = []

  private let keepsSteps: Bool
  private let logs: RunLogs?

  /// - Parameters:
  ///   - keepsSteps: whether a report will show every step.
  ///   - firstStep: steps that an earlier part of the run has taken.
  init(
    _ job: Job, _ reporter: Reporter, _ metrics: MetricsFile?, _ logs: RunLogs?, keepsSteps: Bool, firstStep: Int = 0
  ) {
    self.keepsSteps = keepsSteps
    self.logs = logs
    self.firstStep = firstStep
    self.job = job
    self.reporter = reporter
    self.metrics = metrics
    last = clock.now
  }

  /// Rows a second over all ranks, evaluation left out.
  var examplesPerSecond: Double { trainingSeconds > 0 ? Double(rows) / trainingSeconds : 0 }

  /// What comes next is no training that began before.
  mutating func restartClock() { last = clock.now }

  mutating func record(_ step: StepReport, epoch: Int, rows stepRows: Int) throws(Failure) {
    let now = clock.now
    let seconds = (now - last).seconds
    trainingSeconds += seconds
    last = now
    rows += stepRows
    let stepsPerEpoch = job.loader.stepsPerEpoch
    let record = StepRecord(step, epoch: Double(step.step) / Double(stepsPerEpoch))
    try metrics?.write(record)
    try logs?.write(record)
    if keepsSteps { steps.append(RunRecord.Step(record, rows: stepRows, seconds: seconds)) }
    if step.skipped == nil { recentLosses.append(step.loss) }
    if recentLosses.count > 20 { recentLosses.removeFirst() }
    let total = job.schedule.totalSteps
    try reporter.progress(done: step.step, of: total) {
      let loss = recentLosses.isEmpty ? .nan : recentLosses.reduce(0, +) / Double(recentLosses.count)
      let left = trainingSeconds / Double(step.step - firstStep) * Double(total - step.step)
      return "epoch \(epoch + 1)/\(job.epochs)  loss \(formatted(loss, digits: 4))  "
        + "lr \(scientific(step.learningRate))  \(formatted(examplesPerSecond, digits: 1)) examples/s  "
        + "\(clockTime(left)) left"
    }
  }

  /// Writes down an evaluation of all validation sets: figures of the first stand under their own names.
  mutating func record(_ evaluations: [Evaluation], step: Int, epoch: Int) throws(Failure) -> EvaluationRecord {
    var values: [MetricValue] = []
    for (rows, evaluation) in zip(job.validations, evaluations) {
      precondition(
        evaluation.examples == rows.rows.count, "evaluated \(evaluation.examples) rows of \(rows.rows.count)")
      values += try evaluation.compute(job.metric).map { MetricValue($0.name + rows.suffix, $0.value) }
      guard !rows.suffix.isEmpty else { continue }
      values.append(MetricValue("loss" + rows.suffix, evaluation.loss))
    }
    let record = EvaluationRecord(
      evaluations[0], values: values, epoch: Double(step) / Double(job.loader.stepsPerEpoch), step: step)
    try metrics?.write(record)
    try logs?.write(record)
    try reporter.line(
      "epoch \(epoch + 1)/\(job.epochs): \(scores(values.filter { !$0.name.hasPrefix("loss") })), validation loss "
        + formatted(record.loss, digits: 4))
    last = clock.now
    return record
  }

  /// Writes down the evaluation of the test rows.
  func record(test evaluation: Evaluation, step: Int) throws(Failure) {
    let values = try evaluation.compute(job.metric)
    let record = EvaluationRecord(
      evaluation, values: values, epoch: Double(step) / Double(job.loader.stepsPerEpoch), step: step, kind: "test")
    try metrics?.write(record)
    try logs?.write(record)
    try reporter.line("test: \(scores(values)), test loss \(formatted(evaluation.loss, digits: 4))")
  }
}

/// The end of a run: a chart of the scores, the time and the speed, and where the time went.
///
/// - Parameter skippedSteps: steps of the whole run that were left out for bad numbers.
func summarize(
  _ evaluations: [EvaluationRecord], _ job: Job, _ meter: Meter, _ times: TimeReport, skippedSteps: Int,
  seconds: Double, savedTo folder: String?,
  _ reporter: Reporter
) throws(Failure) {
  try reporter.line("")
  let names = job.validations.flatMap { rows in job.metric.names.map { $0 + rows.suffix } }
  let width = max(10, (names.map { title($0).count }.max() ?? 0) + 2)
  for name in names {
    for (index, evaluation) in evaluations.enumerated() {
      let score = evaluation[name] ?? .nan
      let label = index == 0 ? title(name) : ""
      let start = label + String(repeating: " ", count: width - label.count) + "epoch \(index + 1)  "
      let bar = String(repeating: "#", count: Int((min(1, max(0, score.isNaN ? 0 : score)) * 40).rounded()))
      try reporter.line(
        start
          + (isShare(name)
            ? formatted(100 * score, digits: 2) + " %  |" + bar
            : formatted(score, digits: 4) + (name.hasPrefix("mse") ? "" : "  |" + bar)))
    }
  }
  try reporter.line(
    "\(grouped(job.schedule.totalSteps)) steps in \(clockTime(seconds)), "
      + "\(formatted(meter.examplesPerSecond, digits: 1)) examples/s in training")
  if skippedSteps > 0 {
    try reporter.line("\(counted(skippedSteps, "step")) left out, for numbers that are not finite")
  }
  try reporter.facts(times.lines + [("would help", times.advice)])
  if let folder { try reporter.line("saved to \(folder)") }
}

extension Duration {
  /// As seconds.
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
