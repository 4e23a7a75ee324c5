import ArgumentParser
import Collectives
import Datasets
import Inference
import JSON
import Kernels
import ProgramSupport
import System
import Tokenization
import Training

/// `bench predict`: answers as `predict` gives them, beside the evaluation of the same rows.
struct PredictCommand: Measurement {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract:
      "Times answers to JSON lines, from the lines' bytes to the answers', beside an evaluation of the same rows.",
    discussion: "Rows are the task's validation rows. Both are timed in turn, with the same products and batch size.")

  @OptionGroup var trained: TaskOptions

  @Option(help: "How often to time each.")
  var rounds = 5

  func run(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure) {
    let (folder, task, pairs, precision) = try communicator.agree { () throws(Failure) in try inputs(settings) }
    let model = try trained.makeModel(folder, communicator, settings)
    let predictor = try Predictor(
      folder, model, settings.gemm(precision, isForEvaluation: true), batchSize: trained.batchSize, communicator)
    let rows = try communicator.agree { () throws(Failure) in
      try TokenizedDataset(pairs, tokenizer: folder.tokenizer, maxLength: predictor.maxLength)
    }
    let lines = try communicator.agree { () throws(Failure) in Self.lines(pairs) }
    let writer = AnswerWriter(predictor.labels)

    /// Answers all lines, as `predict` does but for reading and writing them.
    func answer() throws(Failure) -> (answers: [Answer?], bytes: Int) {
      var (answers, bytes): ([Answer?], Int) = ([], 0)
      let source = communicator.isMain ? Lines(lines) : nil
      _ = try predictor.answer(source, communicator) { (round) throws(Failure) in
        for (question, answer) in round {
          bytes += writer.line(question, answer).count
          answers.append(answer)
        }
      }
      return (answers, bytes)
    }
    // Once to have the memory and to compare, then for the time.
    let evaluation = try predictor.evaluate(rows)
    let difference = try verified(answer().answers, evaluation, task, communicator)
    var (evaluating, answering): ([Double], [Double]) = ([], [])
    for _ in 0..<rounds {
      try communicator.barrier()
      var clock = LapClock()
      _ = try predictor.evaluate(rows)
      try communicator.barrier()
      evaluating.append(clock.lap())
      _ = try answer()
      try communicator.barrier()
      answering.append(clock.lap())
    }
    let machine = try Machine(communicator, settings)
    guard communicator.isMain else { return }
    let count = Double(rows.count)
    try Output.write(
      json: PredictResult(
        rows: rows.count, batch_size: trained.batchSize, precision: precision == .bf16 ? "bf16" : "fp32",
        rows_per_second: Spread(answering.map { count / $0 }),
        evaluation_rows_per_second: Spread(evaluating.map { count / $0 }),
        ratio_to_evaluation: Spread(evaluating).median / Spread(answering).median,
        largest_difference: difference, machine: machine))
  }

  private func inputs(
    _ settings: RankSettings
  ) throws(Failure) -> (ModelFolder, GLUETask, SentencePairs, ProductPrecision) {
    try check(rounds, "--rounds", 1...1000)
    let task = try GLUETask.named(trained.task)
    guard let split = task.validationSplits.first else {
      throw Failure(.usage, at: "--task", "\(task.name) has no validation rows, expected another task")
    }
    let folder = try trained.folder()
    try folder.requireTokenTypes(for: task)
    return (
      folder, task, try loadSplit(task, folder: trained.data, split: split), try trained.precision.precision(settings)
    )
  }

  /// The rows as a user would send them.
  private static func lines(_ pairs: SentencePairs) -> [UInt8] {
    var text: [UInt8] = []
    for pair in pairs {
      text += "{\"text\":".utf8
      JSONText.append(quoted: pair.first, to: &text)
      if let second = pair.second {
        text += ",\"text_pair\":".utf8
        JSONText.append(quoted: second, to: &text)
      }
      text += "}\n".utf8
    }
    return text
  }

  /// Compares the answers with the evaluation's outputs, and returns the largest difference of a score or probability.
  private func verified(
    _ answers: [Answer?], _ evaluation: Evaluation, _ task: GLUETask, _ communicator: any Communicator
  ) throws(Failure) -> Double {
    try communicator.agree { () throws(Failure) -> Double in
      guard communicator.isMain else { return 0 }
      let (outputs, logits) = (task.labelCount, evaluation.rows.logits)
      guard answers.count * outputs == logits.count else {
        throw Failure(.internalError, "\(answers.count) answers, expected \(logits.count / outputs)")
      }
      var largest = 0.0
      for (row, answer) in answers.enumerated() {
        let expected = Answer(
          logits: logits[row * outputs..<(row + 1) * outputs], outputs == 1 ? .regression : .singleLabel)
        guard let answer else { throw Failure(.internalError, "row \(row + 1) has no answer") }
        let values = outputs == 1 ? answer.scores : answer.probabilities
        for (value, other) in zip(values, outputs == 1 ? expected.scores : expected.probabilities) {
          largest = max(largest, Double(abs(value - other)))
        }
      }
      // Rows share other batches there, which moves the last bits of a sum.
      guard largest <= 1e-3 else {
        throw Failure(.internalError, "answers differ from the evaluation by \(largest), expected at most 0.001")
      }
      return largest
    }
  }
}

/// JSON lines that are all there, read as they are asked for.
private struct Lines: QuestionSource {
  private var splitter = LineSplitter()
  private let reader = JSONQuestions(path: "lines")
  private var rest: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { rest = bytes[...] }

  mutating func next(atMost most: Int, milliseconds: Int32) throws(Failure) -> [Question]? {
    guard !rest.isEmpty else { return nil }
    var questions: [Question] = []
    while questions.count < most, let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      for line in splitter.add(rest[...end]) {
        if let question = try reader.question(line) { questions.append(question) }
      }
      rest = rest[(end + 1)...]
    }
    return questions
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// What `bench predict` prints.
private struct PredictResult: Encodable {
  var rows: Int
  var batch_size: Int
  var precision: String
  /// From a line's bytes to its answer's.
  var rows_per_second: Spread
  /// Of rows that are tokens already.
  var evaluation_rows_per_second: Spread
  /// 1 where `predict` is as fast as an evaluation: medians, in the same run.
  var ratio_to_evaluation: Double
  /// Of a score or a probability, between the two.
  var largest_difference: Double
  var machine: Machine
}
