import JSON
import System

// Devlin et al., arXiv 1810.04805; transformers' modeling_bert.py.

extension ModelFamily {
  /// BERT: the names and keys from which the others differ.
  static let bert = ModelFamily(
    modelType: "bert", classPrefix: "Bert", sizeKeys: ("num_attention_heads", "hidden_size"),
    names: ParameterNames(encoder: "bert"),
    head: HeadRecipe(dense: "bert.pooler.dense", classifier: "classifier", activation: .tanh)
  ) { file, configuration throws(Failure) in
    try configuration.readUsualKeys(file)
  }
}

extension BertConfiguration {
  /// Reads the keys that BERT, ELECTRA and RoBERTa have; what the file leaves out stays as it is.
  mutating func readUsualKeys(_ file: JSONNode) throws(Failure) {
    vocabularySize = try file.size("vocab_size", default: vocabularySize)
    hiddenSize = try file.size("hidden_size", default: hiddenSize, upTo: 1 << 16)
    embeddingSize = hiddenSize
    layers = try file.size("num_hidden_layers", default: layers, upTo: 1 << 12)
    heads = try file.size("num_attention_heads", default: heads, upTo: 1 << 12)
    intermediateSize = try file.size("intermediate_size", default: intermediateSize, upTo: 1 << 18)
    positionRows = try file.size("max_position_embeddings", default: positionRows, upTo: 1 << 16)
    tokenTypes = try file.size("type_vocab_size", default: tokenTypes, upTo: 1 << 16)
    activation = try file.activation("hidden_act", default: activation)
    layerNormEpsilon = try file.number("layer_norm_eps", default: layerNormEpsilon)
    initializerRange = try file.number("initializer_range", default: initializerRange, below: 100)
    hiddenDropout = try file.number("hidden_dropout_prob", default: hiddenDropout)
    attentionDropout = try file.number("attention_probs_dropout_prob", default: attentionDropout)
    classifierDropout = hiddenDropout
    if try file.member("classifier_dropout") != nil {
      classifierDropout = try file.number("classifier_dropout", default: hiddenDropout)
    }
  }
}
