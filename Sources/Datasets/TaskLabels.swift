import Tokenization

/// How the loss reads a row's label: transformers' `problem_type`, by its names.
public enum ProblemType: String, Sendable, CaseIterable {
  /// One score a row: squared error.
  case regression
  /// One class a row: softmax and cross-entropy.
  case singleLabel = "single_label_classification"
  /// Any number of classes a row: a sigmoid and binary cross-entropy for each class.
  case multiLabel = "multi_label_classification"
}

/// What the label column of a task may hold.
public enum TaskLabels: Sendable, Equatable {
  /// These texts and no others; the class is the text's index.
  case classes([String])
  /// Any number of these texts; a class is a text's index.
  case classSets([String])
  /// A decimal number in this range.
  case scores(ClosedRange<Float>)

  /// The outputs of a model's classifier: the number of classes, or 1 for scores.
  public var outputs: Int {
    switch self {
    case .classes(let names), .classSets(let names): names.count
    case .scores: 1
    }
  }

  public var problem: ProblemType {
    switch self {
    case .classes: .singleLabel
    case .classSets: .multiLabel
    case .scores: .regression
    }
  }

  /// The label that `field` spells, byte for byte; nil where it is none. Sets are spelled by ``set(of:)``.
  func label(_ field: ArraySlice<UInt8>) -> Label? {
    switch self {
    case .classes(let names): index(of: field, in: names).map { .category($0) }
    case .classSets(let names): index(of: field, in: names).map { .categories([$0]) }
    case .scores(let range):
      decimal(field).flatMap { range.contains($0) && (!isScale || isPlain(field)) ? .score($0) : nil }
    }
  }

  /// The label column's values, for a message.
  var expected: String {
    switch self {
    case .classes(let names): Self.listed(names, "or")
    case .classSets(let names): "any of " + Self.listed(names, "and")
    case .scores where !isScale: "a number"
    case .scores(let range): "a number from \(range.lowerBound) to \(range.upperBound)"
    }
  }

  private static func listed(_ names: [String], _ word: String) -> String {
    let most = 12
    guard let last = names.last else { return "" }
    if names.count > most { return names.prefix(most).joined(separator: ", ") + " … (\(names.count) classes)" }
    return names.count == 1 ? last : names.dropLast().joined(separator: ", ") + " \(word) \(last)"
  }

  /// Whether scores are marks on a scale, such as GLUE's from 0 to 5, which are written with digits and a point.
  private var isScale: Bool {
    if case .scores(let range) = self { range.upperBound < .greatestFiniteMagnitude } else { false }
  }

  private func isPlain(_ field: ArraySlice<UInt8>) -> Bool {
    field.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2E }
  }

  private func index(of field: ArraySlice<UInt8>, in names: [String]) -> Int? {
    names.firstIndex { field.elementsEqual($0.utf8) }
  }
}

/// The number that `field` spells as JSON does, with leading zeros allowed: `Float()` alone would take "nan", "0x1p3" and
/// "+1" too.
func decimal(_ field: ArraySlice<UInt8>) -> Float? {
  guard isDecimal(field), let value = Float(String(decoding: field, as: UTF8.self)), value.isFinite else { return nil }
  return value
}

/// Whether `field` is digits, with a minus before them, a fraction or an exponent behind them where `isWhole` is false.
func isDecimal(_ field: ArraySlice<UInt8>, isWhole: Bool = false) -> Bool {
  func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
  var rest = field.first == 0x2D ? field.dropFirst() : field
  func dropDigits() -> Bool {
    let count = rest.prefix(while: isDigit).count
    rest = rest.dropFirst(count)
    return count > 0
  }
  guard dropDigits() else { return false }
  if isWhole { return rest.isEmpty }
  if rest.first == 0x2E {
    rest = rest.dropFirst()
    guard dropDigits() else { return false }
  }
  if rest.first == 0x65 || rest.first == 0x45 {
    rest = rest.dropFirst()
    if rest.first == 0x2B || rest.first == 0x2D { rest = rest.dropFirst() }
    guard dropDigits() else { return false }
  }
  return rest.isEmpty
}
