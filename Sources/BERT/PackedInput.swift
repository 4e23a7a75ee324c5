/// A batch as the model computes it: the real tokens of all sequences one after another, no padding.
///
/// The caller owns the memory and keeps it until backward is through.
public struct PackedInput {
  /// Real tokens of all sequences.
  public var tokens: Int
  public var sequences: Int
  /// `[tokens]`.
  public var tokenIDs: UnsafePointer<Int32>
  /// `[tokens]`.
  public var typeIDs: UnsafePointer<Int32>
  /// `[sequences + 1]`: sequence s is tokens starts[s] ..< starts[s + 1].
  public var starts: UnsafePointer<Int32>
  /// `[sequences]`: each sequence's row in the data set, the address of its randomness.
  public var rows: UnsafePointer<Int>

  public init(
    tokens: Int, sequences: Int, tokenIDs: UnsafePointer<Int32>, typeIDs: UnsafePointer<Int32>,
    starts: UnsafePointer<Int32>, rows: UnsafePointer<Int>
  ) {
    self.tokens = tokens
    self.sequences = sequences
    self.tokenIDs = tokenIDs
    self.typeIDs = typeIDs
    self.starts = starts
    self.rows = rows
  }

  /// Tokens of a sequence.
  func length(_ sequence: Int) -> Int { Int(starts[sequence + 1]) - Int(starts[sequence]) }
}

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
