/// A figure of an evaluation, under the name that scikit-learn or GLUE gives it.
public struct MetricValue: Sendable, Equatable {
  public var name: String
  /// NaN where it is not defined, as a correlation of constants.
  public var value: Double

  public init(_ name: String, _ value: Double) {
    self.name = name
    self.value = value
  }
}
