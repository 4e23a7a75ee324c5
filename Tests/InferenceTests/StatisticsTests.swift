import Datasets
import FoundationEssentials
import Inference
import TestSupport
import Testing
import Training

private func rows(_ labels: [Int], _ told: [Int], outputs: Int = 2) -> EvaluatedRows {
  EvaluatedRows(
    outputs: outputs, logits: told.flatMap { told in (0..<outputs).map { $0 == told ? 1 : 0 } },
    labels: labels.map { .category($0) })
}

struct StatisticsTests {
  @Test(
    "McNemar's test gives scipy's p-values: binomtest below 25 disagreements, the χ² tail from there",
    arguments: [
      (3, 9, 0.14599609375), (0, 0, 1), (0, 5, 0.0625), (10, 10, 1), (12, 12, 1), (11, 13, 0.8388197422027588),
      (10, 30, 0.002663119259138558), (20, 20, 1),
    ])
  func mcnemar(first: Int, second: Int, expected: Double) {
    let test = McNemarTest(onlyFirst: first, onlySecond: second)
    #expect(abs(test.pValue - expected) <= 1e-12, "\(test.pValue)")
    #expect(test.pValue == McNemarTest(onlyFirst: second, onlySecond: first).pValue)
    #expect(test.isExact == (first + second < 25))
  }

  @Test(
    "McNemar's test and the confusion matrix are scipy's and scikit-learn's on the spot",
    .needs(.variable("LOCKSTEP_PYTHON")))
  func againstPython() throws {
    let python = try #require(Golden.variable("LOCKSTEP_PYTHON")?.split(separator: ":").first.map(String.init))
    let script = """
      from scipy.stats import binomtest, chi2
      for b in range(0, 60, 3):
        for c in range(0, 60, 7):
          n = b + c
          p = (1.0 if n == 0 else binomtest(min(b, c), n, 0.5).pvalue) if n < 25 else chi2.sf(max(0, abs(b - c) - 1) ** 2 / n, 1)
          print(b, c, repr(float(p)))
      """
    let outcome = try Program.run([python, "-c", script])
    try #require(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.outputLines.count == 180)
    for line in outcome.outputLines {
      let words = line.split(separator: " ")
      let first = try #require(words[at: 0].flatMap { Int($0) })
      let second = try #require(words[at: 1].flatMap { Int($0) })
      let expected = try #require(words[at: 2].flatMap { Double($0) })
      let found = McNemarTest(onlyFirst: first, onlySecond: second).pValue
      #expect(abs(found - expected) <= 1e-12, "\(first), \(second): \(found), expected \(expected)")
    }
  }

  @Test("rows on which one model alone is right are counted")
  func disagreements() {
    let labels = [0, 1, 1, 0, 1]
    let test = McNemarTest(
      first: rows(labels, [0, 1, 0, 1, 1]).areRight, second: rows(labels, [0, 0, 1, 1, 0]).areRight)
    #expect(test == McNemarTest(onlyFirst: 2, onlySecond: 1))
  }

  @Test("a confusion matrix has true classes as lines")
  func confusion() {
    let matrix = ConfusionMatrix(rows([0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 2, 2], outputs: 3))
    #expect(matrix.lines == [[1, 1, 0], [0, 1, 0], [1, 0, 2]])
    #expect(matrix[label: 2, told: 0] == 1)
    let sets = EvaluatedRows(
      outputs: 2, logits: [1, -1, 1, 1, -1, -1], labels: [.categories([0]), .categories([0]), .categories([1])])
    #expect(ConfusionMatrix.perClass(sets) == [[[1, 0], [0, 2]], [[1, 1], [1, 0]]])
  }

  @Test("drawn rows are a function of seed and number, spread over all rows, and another seed draws others")
  func draws() throws {
    let bootstrap = Bootstrap(resamples: 10, seed: 42)
    #expect(bootstrap.rows(3, count: 50) == bootstrap.rows(3, count: 50))
    #expect(bootstrap.rows(3, count: 50) != bootstrap.rows(4, count: 50))
    #expect(bootstrap.rows(3, count: 50) != Bootstrap(resamples: 10, seed: 43).rows(3, count: 50))
    var counts = [Int](repeating: 0, count: 10)
    for resample in 0..<1000 { for row in bootstrap.rows(resample, count: 10) { counts[row] += 1 } }
    // Of a binomial of 10,000 draws, five standard deviations.
    #expect(counts.allSatisfy { abs($0 - 1000) < 150 }, "\(counts)")
  }

  @Test("an interval holds the figure, and is as wide as a share's spread")
  func interval() throws {
    let told = (0..<400).map { $0 % 4 == 0 ? 1 : 0 }
    let found = rows(Array(repeating: 0, count: 400), told)
    let metric = try TaskMetric(["accuracy"], for: .classes(["a", "b"]))
    let interval = try #require(try Bootstrap(resamples: 2000, seed: 1).intervals(of: found, metric)[at: 0] ?? nil)
    // 0.75 ± 1.96 · √(0.75 · 0.25 / 400).
    #expect(abs(interval.lowerBound - 0.7076) < 0.006 && abs(interval.upperBound - 0.7924) < 0.006, "\(interval)")
    let same = try Bootstrap(resamples: 20, seed: 1).intervals(of: found, minus: found, metric)
    #expect(same == [0...0])
  }
}
