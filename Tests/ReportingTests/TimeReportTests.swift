import Reporting
import Testing

/// What a run's times are told to mean.
struct TimeReportTests {
  private func report(
    _ ranks: [[StepPart: Double]], evaluation: Double = 0, savedByFasterPrecision: Double = 0
  ) -> TimeReport {
    let seconds = ranks.map { parts in
      var seconds = StepSeconds()
      for (part, value) in parts { seconds[part] = value }
      return seconds
    }
    return TimeReport(
      ranks: seconds, evaluations: ranks.map { _ in evaluation }, hosts: ranks.indices.map { "node\($0)" }, steps: 10,
      savedByFasterPrecision: savedByFasterPrecision)
  }

  private func lines(_ ranks: [[StepPart: Double]]) -> [String: String] {
    let report = report(ranks)
    return Dictionary(uniqueKeysWithValues: report.lines.map { ($0.name, $0.value) })
  }

  @Test("shares, efficiency and the slowest rank are the numbers'")
  func numbers() {
    let lines = self.lines([
      [.forward: 2, .backward: 4, .optimizer: 1, .waiting: 2, .communication: 1],
      [.forward: 3, .backward: 5, .optimizer: 1, .waiting: 0, .communication: 1],
    ])
    #expect(
      lines["time"]
        == "data 0.0 %, forward 25.0 %, backward 45.0 %, waiting 10.0 %, communication 10.0 %, optimizer 10.0 %, evaluation 0.0 %"
    )
    #expect(lines["a step"]?.hasPrefix("1000.0 ms: data 0.0, forward 250.0, backward 450.0") == true)
    #expect(lines["efficiency"]?.hasPrefix("80.0 % over 2 ranks") == true)
    #expect(lines["slowest rank"] == "1 (host node1), 28.6 % longer at its own work than the fastest")
  }

  @Test("what helps most follows from the numbers")
  func advice() {
    let work: [StepPart: Double] = [.forward: 3, .backward: 6]
    func with(_ part: StepPart, _ seconds: Double) -> [StepPart: Double] { work.merging([part: seconds]) { $1 } }
    func expect(
      _ report: TimeReport, _ cause: TimeReport.Bottleneck, _ share: Double,
      sourceLocation: SourceLocation = #_sourceLocation
    ) {
      let found = report.bottleneck
      #expect(found.cause == cause, sourceLocation: sourceLocation)
      #expect(abs(found.share - share) < 1e-12, "\(found.share)", sourceLocation: sourceLocation)
    }
    // One rank is late in all.
    let late = report([[.forward: 3, .backward: 6, .waiting: 3], [.forward: 4, .backward: 8]])
    expect(late, .slowRank(1, host: "node1"), 1.5 / 12)
    // Now one rank, now another.
    expect(report([with(.waiting, 2), with(.waiting, 2)]), .unevenBatches, 2 / 11)
    expect(report([with(.communication, 5)]), .sumsOverHosts, 5 / 14)
    expect(report([with(.optimizer, 3)]), .optimizer, 3 / 12)
    expect(report([with(.data, 3)]), .data, 3 / 12)
    expect(report([work], evaluation: 9), .evaluation, 0.5)
    expect(report([work], savedByFasterPrecision: 0.35), .precision, 1)
    expect(report([work]), .work, 1)
  }
}
