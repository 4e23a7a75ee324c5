import Collectives
import Glibc
import System
import Tokenization

/// Where questions come from; used by rank 0 only.
public protocol QuestionSource {
  /// Up to `most` questions that are there now, waiting at most `milliseconds` for the first; nil at the end.
  mutating func next(atMost most: Int, milliseconds: Int32) throws(Failure) -> [Question]?
}

/// Questions of lines that come one by one.
public struct LineQuestions<Reader: QuestionReader>: QuestionSource {
  private var input: LineInput
  private var reader: Reader

  public init(_ input: LineInput, _ reader: Reader) {
    self.input = input
    self.reader = reader
  }

  public mutating func next(atMost most: Int, milliseconds: Int32) throws(Failure) -> [Question]? {
    guard let lines = try input.next(atMost: most, milliseconds: milliseconds) else { return nil }
    var questions: [Question] = []
    for line in lines { if let question = try reader.question(line) { questions.append(question) } }
    return questions
  }
}

/// Questions that are all there.
public struct GivenQuestions: QuestionSource {
  private var questions: ArraySlice<Question>

  public init(_ questions: [Question]) { self.questions = questions[...] }

  public mutating func next(atMost most: Int, milliseconds: Int32) -> [Question]? {
    guard !questions.isEmpty else { return nil }
    let taken = questions.prefix(most)
    questions = questions.dropFirst(taken.count)
    return Array(taken)
  }
}

/// What became of all questions.
public struct QuestionCounts: Sendable, Equatable {
  public var questions = 0
  /// Rows without an answer.
  public var failed = 0
  /// The first of them: its place in the input, from 1, and why.
  public var firstFailure: (row: Int, reason: String)?
  /// Rows longer than the model takes.
  public var cut = 0

  public init() {}

  public static func == (a: Self, b: Self) -> Bool {
    a.questions == b.questions && a.failed == b.failed && a.cut == b.cut && a.firstFailure?.row == b.firstFailure?.row
  }
}

extension Predictor {
  /// While nothing comes, all ranks meet so often: it shows the launcher that they live, and the others sleep between.
  static let idleMilliseconds: Int32 = 50

  /// Answers all questions of `source`, in order, as they come. Called by all ranks; rank 0 alone reads and answers.
  ///
  /// - Parameters:
  ///   - source: of rank 0; nil on others.
  ///   - answer: gets each question with its answer, nil where there is none, on rank 0; a whole round at once.
  /// - Returns: what became of them, on rank 0.
  public func answer(
    _ source: (any QuestionSource)?, _ communicator: any Communicator,
    answer: ([(Question, Answer?)]) throws(Failure) -> Void
  ) throws(Failure) -> QuestionCounts {
    var source = source
    var counts = QuestionCounts()
    var encoder = RowEncoder(folder.tokenizer, maxLength: maxLength)
    // Thrown in the next round by all ranks, who would wait for this one for ever.
    var unsaid: Failure?
    while true {
      var questions: [Question] = []
      let own = try communicator.agree { () throws(Failure) -> QuestionRound in
        if let unsaid { throw unsaid }
        guard source != nil else { return .idle }
        guard let found = try source?.next(atMost: rowsOfARound, milliseconds: Self.idleMilliseconds) else {
          return .end
        }
        questions = found
        if found.isEmpty { return .idle }
        return .rows(try encode(&questions, with: &encoder))
      }
      switch QuestionRound(try communicator.broadcast(own.bytes, from: 0)) {
      case .idle:
        if !communicator.isMain { usleep(UInt32(Self.idleMilliseconds) * 900) }
      case .end:
        counts.cut = encoder.cutCount
        return counts
      case .rows(let rows):
        let logits = try logits(rows)
        guard communicator.isMain else { continue }
        do throws(Failure) { try answer(answers(questions, logits, &counts)) } catch { unsaid = error }
      }
    }
  }

  /// The rows of the questions that can be asked; what cannot be encoded is noted in the question.
  private func encode(_ questions: inout [Question], with encoder: inout RowEncoder) throws(Failure) -> [Encoding] {
    var rows: [Encoding] = []
    for index in questions.indices where questions[index].problem == nil {
      do throws(Failure) {
        rows.append(try encoder.encode(questions[index].text, questions[index].textPair))
        if let highest = rows.last?.tokenTypeIDs.max(), !folder.configuration.takes(tokenType: Int(highest)) {
          rows.removeLast()
          questions[index].problem = "a model of single sentences cannot take pairs, expected no second text"
        }
      } catch {
        questions[index].problem = "\(error)"
      }
    }
    return rows
  }

  private func answers(
    _ questions: [Question], _ logits: [Float], _ counts: inout QuestionCounts
  ) -> [(Question, Answer?)] {
    let outputs = folder.configuration.labels
    var place = 0
    return questions.map { question in
      var question = question
      counts.questions += 1
      var answer: Answer?
      if question.problem == nil {
        answer = Answer(logits: logits[place..<place + outputs], labels.problem)
        place += outputs
        if answer?.isFinite == false {
          answer = nil
          question.problem = "the model's output is not a number"
        }
      }
      if let problem = question.problem {
        counts.failed += 1
        if counts.firstFailure == nil { counts.firstFailure = (counts.questions, problem) }
      }
      return (question, answer)
    }
  }
}
