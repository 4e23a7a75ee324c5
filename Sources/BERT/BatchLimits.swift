/// The most that one batch may hold, from which the activations are sized.
public struct BatchLimits: Sendable, Equatable {
  public var tokens: Int
  public var sequences: Int
  /// Tokens of the longest sequence.
  public var length: Int

  public init(tokens: Int, sequences: Int, length: Int) {
    self.tokens = tokens
    self.sequences = sequences
    self.length = length
  }

  /// Whether a batch of at most `other` fits.
  public func holds(_ other: BatchLimits) -> Bool {
    tokens >= other.tokens && sequences >= other.sequences && length >= other.length
  }
}
