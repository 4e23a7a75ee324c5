import Corpus
import Testing

@Suite struct BaselinesTests {
  private func table(_ rows: [(label: Int, first: String, second: String)]) -> [UInt8] {
    let lines = rows.enumerated().map { "\($1.label)\t\(2 * $0)\t\(2 * $0 + 1)\t\($1.first)\t\($1.second)" }
    return Array((["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"] + lines).map { $0 + "\n" }.joined().utf8)
  }

  @Test func handMadeCase() {
    // Overlaps in training: 1, 2/4, 1/3 (label 0), 0 (label 0): the rule says 1 from 2/4 on, and all are right.
    let training = table([
      (1, "A b c", "c B a"), (1, "a b c", "a b d"), (1, "a a b", "B a b"), (0, "a b", "b c"), (0, "a b", "c d"),
    ])
    // Overlaps: 2/4 right, 1/5 right, 1 wrong, 0 wrong, 3/4 right.
    let validation = table([
      (1, "a b c", "b c d"), (0, "a b c", "c d e"), (0, "a", "A"), (1, "a", "b"), (1, "a b c", "a b c d"),
    ])
    let baselines = Baselines(training: training, validation: validation)
    #expect(baselines.threshold == 0.5)
    #expect(baselines.overlapAccuracy == 0.6)
    // Two hits, one false alarm, one miss.
    #expect(abs(baselines.overlapF1 - 4.0 / 6) < 1e-15)
    // Label 1 is the more frequent in training: three hits, two false alarms, no miss.
    #expect(baselines.majorityAccuracy == 0.6)
    #expect(abs(baselines.majorityF1 - 6.0 / 8) < 1e-15)
  }

  @Test func majorityOfDifferencesHasNoF1() {
    let training = table([(0, "a", "a"), (0, "a", "b"), (1, "a", "b")])
    let validation = table([(0, "a", "a"), (1, "a", "b")])
    let baselines = Baselines(training: training, validation: validation)
    #expect(baselines.majorityAccuracy == 0.5 && baselines.majorityF1 == 0)
    // Overlap tells nothing of use there: always 0 is best.
    #expect(baselines.threshold == .infinity)
    #expect(baselines.overlapAccuracy == 0.5 && baselines.overlapF1 == 0)
  }

  @Test func noRowsGiveZeros() {
    let empty = table([])
    let baselines = Baselines(training: empty, validation: empty)
    #expect(baselines.majorityAccuracy == 0 && baselines.overlapAccuracy == 0 && baselines.overlapF1 == 0)
  }

  /// What the corpus promises: guessing is 25 points and overlap 15 points below what the model has to reach, 85 %.
  @Test func standardCorpusIsNotSolvedByCounting() {
    let baselines = ParaphraseCorpus.standard.baselines()
    #expect(baselines.majorityAccuracy < 0.6)
    #expect(baselines.overlapAccuracy < 0.7)
  }
}
