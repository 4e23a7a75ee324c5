import JSON
import System

// Clark et al., arXiv 2003.10555; transformers' modeling_electra.py (5.24).

extension ModelFamily {
  /// ELECTRA: embeddings of a size of their own, projected to the encoder's, and a head with GELU.
  static let electra = ModelFamily(
    modelType: "electra", classPrefix: "Electra", sizeKeys: ("num_attention_heads", "hidden_size"),
    names: ParameterNames(encoder: "electra"),
    head: HeadRecipe(
      dense: "classifier.dense", classifier: "classifier.out_proj", activation: .gelu, dropsInput: true)
  ) { file, configuration throws(Failure) in
    configuration.hiddenSize = 256
    configuration.heads = 4
    configuration.intermediateSize = 1024
    try configuration.readUsualKeys(file)
    configuration.embeddingSize = try file.size("embedding_size", default: 128, upTo: 1 << 16)
  }
}
