/// The names of the tokens with a meaning of their own.
public struct SpecialTokens: Sendable, Equatable {
  /// Fills short rows of a padded batch.
  public var pad = "[PAD]"
  /// Stands for a word that the vocabulary cannot spell.
  public var unknown = "[UNK]"
  /// Starts every row; the classifier reads the model's output at its place.
  public var classification = "[CLS]"
  /// Ends each sentence.
  public var separator = "[SEP]"
  /// Hides a word in pretraining; a vocabulary may lack it.
  public var mask = "[MASK]"

  public init() {}

  /// The tokens that a vocabulary must have.
  var required: [String] { [pad, unknown, classification, separator] }
}
