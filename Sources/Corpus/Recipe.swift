extension ParaphraseCorpus {
  /// How the small BERT is trained on the corpus from random weights.
  public struct Recipe: Sendable, Equatable {
    /// Passes over the training part.
    public let epochs: Int
    /// The ranks that the other numbers were found for.
    public let ranks: Int
    /// Pairs per rank and step; the step sees `ranks * batchSize` of them.
    public let batchSize: Int
    /// The highest rate: reached after the warm-up, falling linearly to zero at the last step.
    public let learningRate: Double
    /// Steps over which the rate rises linearly from zero.
    public let warmupSteps: Int
    /// AdamW's, on every parameter.
    public let weightDecay: Double
    /// The global norm that gradients are clipped to.
    public let maxGradNorm: Double
    /// Both dropout probabilities of ``ParaphraseCorpus/configJSON``.
    public let dropout: Double
    /// The seed of weights, order and dropout.
    public let seed: UInt64
  }

  /// The recipe that docs/corpus.md reports on.
  public static let recipe = Recipe(
    epochs: 6, ranks: 2, batchSize: 16, learningRate: 1e-3, warmupSteps: 100, weightDecay: 0.01, maxGradNorm: 1,
    dropout: 0, seed: 42)

  /// `config.json` of the small BERT. Weights drawn from a normal distribution as wide as here let attention tell words
  /// apart from the first step; with BERT's own 0.02 nothing is learned within the time.
  public static var configJSON: String {
    """
    {
      "architectures": ["BertForSequenceClassification"],
      "attention_probs_dropout_prob": \(recipe.dropout),
      "hidden_act": "gelu",
      "hidden_dropout_prob": \(recipe.dropout),
      "hidden_size": 64,
      "initializer_range": 0.18,
      "intermediate_size": 256,
      "layer_norm_eps": 1e-12,
      "max_position_embeddings": 32,
      "model_type": "bert",
      "num_attention_heads": 8,
      "num_hidden_layers": 2,
      "pad_token_id": 0,
      "position_embedding_type": "absolute",
      "type_vocab_size": 2,
      "vocab_size": \(Lexicon.vocabulary.count)
    }

    """
  }

  /// `tokenizer_config.json`: lower case, at most as long as the model has positions.
  public static let tokenizerConfigJSON = """
    {"do_lower_case": true, "model_max_length": 32, "tokenizer_class": "BertTokenizer"}

    """
}
