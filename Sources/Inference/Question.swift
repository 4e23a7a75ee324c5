import System

/// A row of input: what to ask the model, and what of the row the answer repeats.
public struct Question: Sendable, Equatable {
  /// The row's other members as JSON text without braces, `"id":7,"text":"…"`; may be empty.
  public var members: [UInt8]
  public var text: [UInt8]
  /// Nil for single sentences.
  public var textPair: [UInt8]?
  /// Why there is nothing to ask, for the answer; nil where there is.
  public var problem: String?

  public init(members: [UInt8] = [], text: [UInt8] = [], textPair: [UInt8]? = nil, problem: String? = nil) {
    self.members = members
    self.text = text
    self.textPair = textPair
    self.problem = problem
  }
}

/// The names of the columns, or keys, that hold the texts.
public struct TextColumns: Sendable, Equatable {
  /// In order of preference.
  public var text: [String]
  /// In order of preference; empty where rows are single sentences.
  public var textPair: [String]

  public init(text: [String], textPair: [String]) {
    self.text = text
    self.textPair = textPair
  }

  /// The columns that the user names; the usual names where they are nil.
  public init(text: String? = nil, textPair: String? = nil) {
    self.text = text.map { [$0] } ?? ["text", "text1", "sentence1", "sentence"]
    self.textPair = textPair.map { [$0] } ?? (text == nil ? ["text_pair", "text2", "sentence2"] : [])
  }

  /// `"text" or "sentence"`.
  var expected: String { text.map { "\"\($0)\"" }.joined(separator: " or ") }

  /// The keys of an answer, which replace those of the input.
  static let answers = ["label", "score", "probabilities", "error"]
}

/// Reads rows of text to questions, one line after the other.
public protocol QuestionReader {
  /// The question of a line; nil where the line is no row, as a header. What is wrong with a row is in the question.
  mutating func question(_ line: LineSplitter.Line) throws(Failure) -> Question?
}

extension QuestionReader {
  /// What can be said of a line in any format; nil where it has text.
  func problem(of line: LineSplitter.Line) -> String? {
    if line.isTooLong { return "line \(line.number) has more bytes than a line may have" }
    return line.bytes.contains { $0 > 0x20 } ? nil : "line \(line.number) is empty"
  }
}
