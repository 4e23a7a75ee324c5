import Collectives
import Datasets
import FoundationEssentials
import System
import TestSupport
import Testing
import Training

/// Metrics against scikit-learn's and scipy's.
@Suite("metrics") struct MetricTests {
  @Test("are scikit-learn's and scipy's on 1 and 3 ranks, degenerate predictions included", arguments: [1, 3])
  func goldens(ranks: Int) throws {
    let goldens = try Golden.json("tasks/metrics.json", as: [TaskMetricsGolden].self)
    #expect(Set(goldens.map(\.kind)) == ["classes", "sets", "scores"] && goldens.count > 150)
    for (index, golden) in goldens.enumerated() {
      try check(golden, try #require(golden.figures), ranks: ranks, "case \(index)")
    }
  }

  @Test(
    "are those of the Python at hand on random predictions",
    .enabled("LOCKSTEP_PYTHON names no Python with scikit-learn and scipy") { !FromPretrainedTests.pythons.isEmpty })
  func live() throws {
    let python = try #require(FromPretrainedTests.pythons.last)
    let folder = try TemporaryFolder()
    var random = SplitMix64(state: UInt64.random(in: 0 ... .max))
    let cases = (0..<60).map { randomCase($0, &random) }
    let path = try folder.write([UInt8](try JSONEncoder().encode(cases)), "cases.json")
    let script = "\(Golden.folder)/make_tasks.py"
    let outcome = try Program.run(
      ["sh", "-c", "\(python) \(script) --metrics \(path) > \(folder.path)/figures.json"], seconds: 120)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let figures = try Golden.json(path: "\(folder.path)/figures.json", as: [[String: Double?]].self)
    try #require(figures.count == cases.count)
    for (golden, figures) in zip(cases, figures) { try check(golden, figures, ranks: 3, "\(golden)") }
  }

  private func randomCase(_ index: Int, _ random: inout SplitMix64) -> TaskMetricsGolden {
    let (kind, classes) = [("classes", 2), ("classes", 4), ("scores", 1), ("sets", 3)][index % 4]
    let rows = Int.random(in: 2...90, using: &random)
    func values() -> TaskMetricsGolden.Values {
      switch kind {
      case "classes": .init([Double(Int.random(in: 0..<classes, using: &random))])
      case "sets": .init((0..<classes).map { _ in Double(Int.random(in: 0...1, using: &random)) })
      default: .init([Double(Float(Int.random(in: 0...20, using: &random)) / 4)])
      }
    }
    return TaskMetricsGolden(
      kind: kind, classes: classes, labels: (0..<rows).map { _ in values() },
      predictions: (0..<rows).map { _ in values() })
  }

  private func check(
    _ golden: TaskMetricsGolden, _ figures: [String: Double?], ranks: Int, _ comment: Comment
  ) throws {
    let (labels, logits, outputs, kind) = rows(golden)
    let names = Array(figures.keys)
    // Rows are dealt out unevenly: the first rank has none.
    let bounds = (0...ranks).map { $0 == ranks ? labels.count : labels.count * $0 * $0 / (ranks * ranks) }
    let found = try ThreadCommunicator.run(ranks: ranks) { (communicator) throws(Failure) in
      let part = bounds[communicator.rank] * outputs..<bounds[communicator.rank + 1] * outputs
      let rows = try EvaluatedRows(
        gathering: Array(logits[part]), outputs: outputs, labels: labels, communicator)
      var metric = try TaskMetric(names, for: kind)
      try metric.add(rows)
      return metric.compute()
    }
    #expect(found.count == ranks)
    for values in found {
      #expect(values.map(\.name) == names, comment)
      for value in values {
        let expected = (figures[value.name] ?? nil) ?? .nan
        #expect(
          value.value.isNaN && expected.isNaN || abs(value.value - expected) <= 1e-12 * max(1, abs(expected)),
          "\(comment): \(value.name) is \(value.value), expected \(expected)")
      }
    }
  }

  private func rows(_ golden: TaskMetricsGolden) -> (labels: [Label], logits: [Float], outputs: Int, TaskLabels) {
    let names = (0..<golden.classes).map { "\($0)" }
    switch golden.kind {
    case "classes":
      let labels = golden.labels.map { Label.category(Int($0.numbers[0])) }
      let logits = golden.predictions.flatMap { row in
        (0..<golden.classes).map { Float($0 == Int(row.numbers[0]) ? 1 : 0) }
      }
      return (labels, logits, golden.classes, .classes(names))
    case "sets":
      let labels = golden.labels.map { row in
        Label.categories(row.numbers.indices.filter { row.numbers[$0] == 1 })
      }
      let logits = golden.predictions.flatMap { $0.numbers.map { Float($0 == 1 ? 0.5 : -0.5) } }
      return (labels, logits, golden.classes, .classSets(names))
    default:
      return (
        golden.labels.map { .score(Float($0.numbers[0])) }, golden.predictions.map { Float($0.numbers[0]) }, 1,
        .scores(-.greatestFiniteMagnitude ... .greatestFiniteMagnitude)
      )
    }
  }

  @Test("that a task cannot have are refused by name, with those that it can have")
  func foreignMetrics() {
    let two = TaskLabels.classes(["no", "yes"])
    for (name, labels, word) in [
      ("pearson", two, "f1"), ("f1", .classes(["a", "b", "c"]), "f1_macro"), ("accuracy", .scores(0...5), "spearmanr"),
      ("matthews_correlation", .classSets(["a", "b"]), "f1_micro"), ("bleu", two, "accuracy"),
    ] {
      let failure = failure { () throws(Failure) in try TaskMetric([name], for: labels) }
      #expect(failure?.status == .usage && failure?.message.contains(name) == true)
      #expect(failure?.message.contains(word) == true, "\(failure?.message ?? "nothing thrown")")
    }
    #expect(failure { () throws(Failure) in try TaskMetric(["f1", "f1"], for: two) }?.status == .usage)
  }

  @Test("refuse rows whose labels are of another kind, instead of counting them wrongly")
  func foreignLabels() {
    let rows = EvaluatedRows(outputs: 2, logits: [0, 1], labels: [.unknown])
    func status(_ metric: some Metric) -> System.ExitStatus? {
      var metric = metric
      return failure { () throws(Failure) in try metric.add(rows) }?.status
    }
    #expect(status(ClassificationCounts()) == .badData)
    #expect(status(MultiLabelCounts()) == .badData)
    #expect(status(RegressionScores()) == .badData)
  }

  @Test("learning rates are those of transformers' get_scheduler, for each kind")
  func schedules() throws {
    struct Schedule: Decodable {
      var kind: String
      var peak: Double
      var warmup, total: Int
      var rates: [Double]
    }
    let goldens = try Golden.json("tasks/schedules.json", as: [Schedule].self)
    #expect(Set(goldens.map(\.kind)) == Set(RateSchedule.Kind.allCases.map(\.rawValue)))
    for golden in goldens {
      let schedule = try RateSchedule(
        try #require(.init(rawValue: golden.kind)), peakRate: golden.peak, warmupSteps: golden.warmup,
        totalSteps: golden.total)
      for (index, rate) in golden.rates.enumerated() {
        let found = schedule.rate(step: index + 1)
        #expect(
          abs(found - rate) <= 1e-14 * golden.peak,
          "\(golden.kind), step \(index + 1) of \(golden.total): \(found), expected \(rate)")
      }
    }
  }

  @Test("a warm-up that a schedule does not have, and a rate that it cannot lower, are refused")
  func badSchedules() {
    func refusal(_ kind: RateSchedule.Kind, _ rate: Double, _ warmup: Int) -> String? {
      failure { () throws(Failure) in
        try RateSchedule(kind, peakRate: rate, warmupSteps: warmup, totalSteps: 10)
      }?.message
    }
    #expect(refusal(.constant, 1e-3, 1)?.contains("constant has none") == true)
    #expect(refusal(.linear, 1e-3, 11)?.contains("11 warm-up steps, expected at most") == true)
    #expect(refusal(.polynomial, 1e-7, 0)?.contains("1e-07") == true)
    #expect(refusal(.constantWithWarmup, 1e-3, 10) == nil)
  }
}
