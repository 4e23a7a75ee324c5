import Testing
import Training

/// What a run's times are told to mean.
struct TimeReportTests {
  private func report(
    _ ranks: [[StepPart: Double]], evaluation: Double = 0
  ) -> [String: String] {
    let seconds = ranks.map { parts in
      var seconds = StepSeconds()
      for (part, value) in parts { seconds[part] = value }
      return seconds
    }
    let report = TimeReport(
      ranks: seconds, evaluations: ranks.map { _ in evaluation }, hosts: ranks.indices.map { "node\($0)" }, steps: 10,
      precision: .bf16, isLarge: true)
    return Dictionary(uniqueKeysWithValues: report.lines.map { ($0.name, $0.value) })
  }

  @Test("shares, efficiency and the slowest rank are the numbers'")
  func numbers() {
    let lines = report([
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
    // One rank is late in all.
    let late = report([[.forward: 3, .backward: 6, .waiting: 3], [.forward: 4, .backward: 8]])["would help"]
    #expect(late?.contains("rank 1 (host node1) is slow") == true, "\(late ?? "")")
    // Now one rank, now another.
    let uneven = report([with(.waiting, 2), with(.waiting, 2)])["would help"]
    #expect(uneven?.contains("--batch-size") == true && uneven?.contains("waiting 18.2 %") == true, "\(uneven ?? "")")
    #expect(report([with(.communication, 5)])["would help"]?.hasPrefix("sums over hosts 35.7 %") == true)
    #expect(report([with(.optimizer, 3)])["would help"]?.hasPrefix("optimizer 25.0 %") == true)
    #expect(report([with(.data, 3)])["would help"]?.hasPrefix("data 25.0 %") == true)
    #expect(report([work], evaluation: 9)["would help"]?.hasPrefix("evaluation 50.0 %") == true)
    #expect(report([work])["would help"]?.hasPrefix("more cores or hosts") == true)
  }
}
