/// What a rank does in a step.
public enum StepPart: Int, Sendable, CaseIterable {
  /// Picking the batch's rows.
  case data
  case forward
  case backward
  /// Until the slowest rank had its gradients, and until all were through.
  case waiting
  /// Sums of gradients over hosts.
  case communication
  /// AdamW; where ranks share memory, with the sum of their gradients.
  case optimizer

  public var name: String { "\(self)" }
}

/// Where the time of a step, or of many, went on this rank, in seconds.
public struct StepSeconds: Sendable, Equatable {
  private var parts = SIMD8<Double>()

  public init() {}

  public subscript(part: StepPart) -> Double {
    get { parts[part.rawValue] }
    set { parts[part.rawValue] = newValue }
  }

  public var total: Double { parts.sum() }

  /// This rank's own work: without waiting for others and without sums over hosts.
  public var ownWork: Double { total - self[.waiting] - self[.communication] }

  public static func += (sum: inout StepSeconds, other: StepSeconds) { sum.parts += other.parts }
}
