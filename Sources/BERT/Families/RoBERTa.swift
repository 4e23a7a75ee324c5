import JSON
import System

// Liu et al., arXiv 1907.11692; transformers' modeling_roberta.py (5.24).

extension ModelFamily {
  /// RoBERTa: positions begin behind the padding token's number, and the head has dropout before its dense layer.
  static let roberta = ModelFamily(
    modelType: "roberta", classPrefix: "Roberta", sizeKeys: ("num_attention_heads", "hidden_size"),
    names: ParameterNames(encoder: "roberta"),
    head: HeadRecipe(
      dense: "classifier.dense", classifier: "classifier.out_proj", activation: .tanh, dropsInput: true)
  ) { file, configuration throws(Failure) in
    configuration.vocabularySize = 50_265
    try configuration.readUsualKeys(file)
    var padding = 1
    if let node = try file.rawMember("pad_token_id") {
      // transformers fails without one, for it counts positions by it.
      padding = try node.int(0...configuration.vocabularySize - 1)
    }
    guard padding + 1 < configuration.positionRows else {
      let node = try file.member("max_position_embeddings") ?? file
      throw node.failure(
        "\"max_position_embeddings\" is \(configuration.positionRows), expected more than \(padding + 1): positions begin "
          + "behind \"pad_token_id\" \(padding)")
    }
    configuration.padTokenID = Int32(padding)
    configuration.paddingPosition = padding
  }
}
