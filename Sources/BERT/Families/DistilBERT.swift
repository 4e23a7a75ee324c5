import JSON
import System

// Sanh et al., arXiv 1910.01108; transformers' modeling_distilbert.py (5.24).

extension ModelFamily {
  /// DistilBERT: no token types, no dropout behind the attention's output, ReLU in the head; keys and names of its own.
  static let distilBERT = ModelFamily(
    modelType: "distilbert", classPrefix: "DistilBert", sizeKeys: ("n_heads", "dim"),
    names: ParameterNames(
      encoder: "distilbert", layers: "transformer.layer", query: "attention.q_lin", key: "attention.k_lin",
      value: "attention.v_lin", attentionOutput: "attention.out_lin", attentionNorm: "sa_layer_norm",
      intermediate: "ffn.lin1", output: "ffn.lin2", outputNorm: "output_layer_norm"),
    head: HeadRecipe(dense: "pre_classifier", classifier: "classifier", activation: .relu)
  ) { file, configuration throws(Failure) in
    /// transformers takes BERT's key, which stands for this one, over it.
    func size(_ key: String, _ usual: String, default standard: Int, upTo limit: Int) throws(Failure) -> Int {
      let own = try file.size(key, default: standard, upTo: limit)
      return try file.size(usual, default: own, upTo: limit)
    }
    configuration.vocabularySize = try file.size("vocab_size", default: 30_522)
    configuration.hiddenSize = try size("dim", "hidden_size", default: 768, upTo: 1 << 16)
    configuration.embeddingSize = configuration.hiddenSize
    configuration.layers = try size("n_layers", "num_hidden_layers", default: 6, upTo: 1 << 12)
    configuration.heads = try size("n_heads", "num_attention_heads", default: 12, upTo: 1 << 12)
    configuration.intermediateSize = try file.size("hidden_dim", default: 3072, upTo: 1 << 18)
    configuration.positionRows = try file.size("max_position_embeddings", default: 512, upTo: 1 << 16)
    configuration.tokenTypes = 0
    configuration.activation = try file.activation("activation", default: .gelu)
    configuration.layerNormEpsilon = 1e-12
    configuration.initializerRange = try file.number("initializer_range", default: 0.02, below: 100)
    configuration.hiddenDropout = try file.number("dropout", default: 0.1)
    configuration.attentionDropout = try file.number("attention_dropout", default: 0.1)
    configuration.classifierDropout = try file.number("seq_classif_dropout", default: 0.2)
    configuration.dropsAttentionOutput = false
    configuration.hasSinusoidalPositions = try file.rawMember("sinusoidal_pos_embds")?.bool() ?? false
  }
}
