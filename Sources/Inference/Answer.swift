import Datasets
import Glibc
import JSON

/// What a model says about one row.
public struct Answer: Sendable, Equatable {
  /// The class; for a model of sets, the classes above a half.
  public var labels: [Int]
  /// The score of a regression; the probabilities of ``labels`` otherwise.
  public var scores: [Float]
  /// [outputs]: a softmax for one class a row, a sigmoid each for sets; empty for a regression.
  public var probabilities: [Float]

  /// - Parameter logits: [outputs] of the row.
  public init(logits: some Collection<Float>, _ problem: ProblemType) {
    switch problem {
    case .regression:
      (labels, scores, probabilities) = ([], Array(logits), [])
    case .singleLabel:
      probabilities = Self.softmax(logits)
      var best = 0
      for (index, value) in logits.enumerated() where value > logits[logits.index(logits.startIndex, offsetBy: best)] {
        best = index
      }
      labels = [best]
      scores = [probabilities[best]]
    case .multiLabel:
      probabilities = logits.map { Float(1 / (1 + exp(-Double($0)))) }
      labels = logits.enumerated().filter { $0.element > 0 }.map(\.offset)
      scores = labels.map { [probabilities] in probabilities[$0] }
    }
  }

  /// exp(x − max) / Σ exp(x − max), in double precision.
  private static func softmax(_ logits: some Collection<Float>) -> [Float] {
    let largest = Double(logits.max() ?? 0)
    let powers = logits.map { exp(Double($0) - largest) }
    let sum = powers.reduce(0, +)
    return powers.map { Float($0 / sum) }
  }

  /// Whether the model gave numbers.
  public var isFinite: Bool { (scores + probabilities).allSatisfy(\.isFinite) }
}

/// Answers as JSON lines.
public struct AnswerWriter {
  private let labels: ModelLabels

  public init(_ labels: ModelLabels) { self.labels = labels }

  /// The line of a question's answer, its end included; of an error where there is none.
  public func line(_ question: Question, _ answer: Answer?) -> [UInt8] {
    var line: [UInt8] = [UInt8(ascii: "{")] + question.members
    func key(_ name: String) {
      if line.count > 1 { line.append(UInt8(ascii: ",")) }
      line += "\"\(name)\":".utf8
    }
    if let answer {
      switch labels.problem {
      case .regression: break
      case .singleLabel:
        key("label")
        JSONText.append(quoted: labels.names[answer.labels[0]].utf8, to: &line)
      case .multiLabel:
        key("label")
        Self.list(answer.labels, to: &line) { JSONText.append(quoted: labels.names[$0].utf8, to: &$1) }
      }
      key("score")
      if labels.problem == .multiLabel {
        Self.list(answer.scores, to: &line) { $1 += "\($0)".utf8 }
      } else {
        line += "\(answer.scores[0])".utf8
      }
      if labels.problem != .regression {
        key("probabilities")
        Self.list(answer.probabilities, to: &line) { $1 += "\($0)".utf8 }
      }
    } else {
      key("error")
      JSONText.append(quoted: (question.problem ?? "").utf8, to: &line)
    }
    return line + "}\n".utf8
  }

  private static func list<Value>(_ values: [Value], to line: inout [UInt8], _ add: (Value, inout [UInt8]) -> Void) {
    line.append(UInt8(ascii: "["))
    for (index, value) in values.enumerated() {
      if index > 0 { line.append(UInt8(ascii: ",")) }
      add(value, &line)
    }
    line.append(UInt8(ascii: "]"))
  }

  /// An answer for a person: the label with its score, then all probabilities, a line each.
  public func lines(_ answer: Answer, formatted: (Float) -> String) -> [String] {
    guard labels.problem != .regression else { return [formatted(answer.scores[0])] }
    let found = zip(answer.labels, answer.scores).map { "\(labels.names[$0])  \(formatted($1))" }
    let width = labels.names.map(\.count).max() ?? 0
    return (found.isEmpty ? ["none of the classes"] : found)
      + zip(labels.names, answer.probabilities).map { name, value in
        "  \(name)\(String(repeating: " ", count: width - name.count))  \(formatted(value))"
      }
  }
}
