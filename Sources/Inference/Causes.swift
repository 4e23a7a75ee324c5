import System

extension Failure.Cause {
  /// A table's columns have none of the usual names.
  public static let unknownColumns = Failure.Cause("unknown columns")
  /// A model has no trained classifier.
  public static let untrained = Failure.Cause("untrained")
}
