/// What a row is to be told to be.
public enum Label: Sendable, Equatable {
  /// Class `0..<classCount` of a classification task.
  case category(Int)
  /// The classes of a row that may have any number of them, none included, in rising order.
  case categories([Int])
  /// The value of a regression task.
  case score(Float)
  /// A row of a test split whose answers are not published.
  case unknown
}

/// One row of a task: a sentence or two, as UTF-8, and its label.
public struct SentencePair: Sendable, Equatable {
  public var first: [UInt8]
  /// Nil in tasks of single sentences.
  public var second: [UInt8]?
  public var label: Label

  public init(first: [UInt8], second: [UInt8]?, label: Label) {
    self.first = first
    self.second = second
    self.label = label
  }
}

/// A part of a task's rows.
public enum Split: String, Sendable, CaseIterable {
  case train, validation, test
  /// MNLI's validation and test rows of genres that are not among the training rows.
  case validationMismatched = "validation_mismatched"
  case testMismatched = "test_mismatched"

  /// Whether its rows may lack labels.
  public var isTest: Bool { self == .test || self == .testMismatched }
}
