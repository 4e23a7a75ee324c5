import BERT
import Glibc
import System
import TestSupport
import Testing

/// What the families of BERT read of their config.json, and what is theirs alone.
struct FamilyTests {
  private func read(_ text: String) throws -> BertConfiguration {
    try BertConfiguration(json: Array(text.utf8), path: "config.json")
  }

  private func problem(_ text: String) -> String {
    failure { () throws(Failure) in try BertConfiguration(json: Array(text.utf8), path: "config.json") }?.description
      ?? ""
  }

  @Test("what config.json leaves out is as in transformers' DistilBertConfig, ElectraConfig and RobertaConfig")
  func defaults() throws {
    let distil = try read("{\"model_type\": \"distilbert\"}")
    #expect(distil.vocabularySize == 30_522 && distil.hiddenSize == 768 && distil.embeddingSize == 768)
    #expect(distil.layers == 6 && distil.heads == 12 && distil.intermediateSize == 3072 && distil.activation == .gelu)
    #expect(distil.maximumPositions == 512 && distil.tokenTypes == 0 && distil.labels == 2 && distil.padTokenID == 0)
    #expect(distil.hiddenDropout == 0.1 && distil.attentionDropout == 0.1 && distil.classifierDropout == 0.2)
    #expect(!distil.dropsAttentionOutput && !distil.hasSinusoidalPositions && distil.layerNormEpsilon == 1e-12)
    let electra = try read("{\"model_type\": \"electra\"}")
    #expect(electra.vocabularySize == 30_522 && electra.hiddenSize == 256 && electra.embeddingSize == 128)
    #expect(electra.layers == 12 && electra.heads == 4 && electra.intermediateSize == 1024 && electra.tokenTypes == 2)
    #expect(electra.maximumPositions == 512 && electra.classifierDropout == 0.1 && electra.dropsAttentionOutput)
    let roberta = try read("{\"model_type\": \"roberta\"}")
    #expect(
      roberta.vocabularySize == 50_265 && roberta.hiddenSize == 768 && roberta.layers == 12 && roberta.heads == 12)
    #expect(roberta.positionRows == 512 && roberta.maximumPositions == 510 && roberta.paddingPosition == 1)
    #expect(roberta.padTokenID == 1 && roberta.tokenTypes == 2 && roberta.layerNormEpsilon == 1e-12)
  }

  @Test("DistilBERT's keys are its own; BERT's, which stand for them in transformers, go before")
  func distilBERT() throws {
    let keys = """
      "model_type": "distilbert", "dim": 24, "n_layers": 3, "n_heads": 4, "hidden_dim": 20, "activation": "relu", "dropout": 0.3,
      "attention_dropout": 0.4, "seq_classif_dropout": 0.5, "sinusoidal_pos_embds": true, "max_position_embeddings": 7
      """
    let own = try read("{\(keys)}")
    #expect(own.hiddenSize == 24 && own.layers == 3 && own.heads == 4 && own.intermediateSize == 20)
    #expect(own.activation == .relu && own.hiddenDropout == 0.3 && own.attentionDropout == 0.4)
    #expect(own.classifierDropout == 0.5 && own.hasSinusoidalPositions && own.maximumPositions == 7)
    let usual = try read("{\(keys), \"hidden_size\": 48, \"num_hidden_layers\": 2, \"num_attention_heads\": 6}")
    #expect(usual.hiddenSize == 48 && usual.embeddingSize == 48 && usual.layers == 2 && usual.heads == 6)
    #expect(problem("{\(keys), \"n_heads\": 5}").contains("twice"))
    #expect(
      problem("{\"model_type\": \"distilbert\", \"n_heads\": 5}").contains(
        "\"n_heads\" is 5, which does not divide \"dim\" 768"))
  }

  @Test("RoBERTa needs a padding token, and positions behind its number", arguments: ["null", "-1", "18", "\"1\""])
  func robertaPadding(padding: String) throws {
    let text = "{\"model_type\": \"roberta\", \"max_position_embeddings\": 19, \"pad_token_id\": \(padding)}"
    #expect(problem(text).contains(padding == "18" ? "max_position_embeddings" : "pad_token_id"), "\(problem(text))")
  }

  @Test("a model of another kind is refused by name, with the kinds that there are")
  func otherKinds() {
    for type in ["gpt2", "xlm-roberta", "albert", "DistilBERT", ""] {
      let text = problem("{\"model_type\": \"\(type)\"}")
      #expect(text.contains("\"\(type)\"") && text.contains("one of bert, distilbert, electra, roberta"), "\(text)")
    }
  }

  /// transformers' `_create_sinusoidal_embeddings`.
  @Test("fresh sinusoidal positions are transformers'; a fresh padding position of RoBERTa's is 0")
  func freshPositions() throws {
    func positions(_ text: String) throws -> (values: [Float], columns: Int) {
      let configuration = try read(text)
      let layout = ParameterLayout(configuration)
      var weights = [Float](repeating: .nan, count: layout.count)
      let slot = try #require(layout.slots.first { $0.name.hasSuffix("position_embeddings.weight") })
      weights.withUnsafeMutableBufferPointer {
        layout.initialize(slot, of: $0.baseAddress!, configuration: configuration, seed: 1)
      }
      return (Array(weights[slot.range]), slot.shape[1])
    }
    let golden = try GoldenModel("families/distilbert-sinusoidal")
    let slot = try #require(golden.layout.slots.first { $0.name.hasSuffix("position_embeddings.weight") })
    let text =
      "{\"model_type\": \"distilbert\", \"vocab_size\": 9, \"max_position_embeddings\": 40, \"dim\": 20, \"n_heads\": 4, "
    let sines = try positions(text + "\"sinusoidal_pos_embds\": true}").values
    // The golden's matrices are five times what they began as.
    let difference = zip(sines, golden.weights[slot.range]).reduce(Float(0)) { max($0, abs(5 * $1.0 - $1.1)) }
    #expect(difference < 1e-5, "\(difference)")
    #expect(try positions(text + "\"n_layers\": 1}").values != sines)
    let (values, columns) = try positions(
      "{\"model_type\": \"roberta\", \"vocab_size\": 9, \"max_position_embeddings\": 12, \"hidden_size\": 24, \"pad_token_id\": 3}"
    )
    #expect(values[3 * columns..<4 * columns].allSatisfy { $0 == 0 })
    #expect(values[..<(3 * columns)].allSatisfy { $0 != 0 } && values[(4 * columns)...].allSatisfy { $0 != 0 })
  }

  @Test("RoBERTa counts positions from behind the padding's, and spelled padding is not counted")
  func robertaPositions() throws {
    let model = try OddModel("roberta", labels: 3)
    var rows = PackedRows()
    rows.append([5, 1, 7, 1, 9], types: [0, 0, 1, 1, 0], row: 0)
    let gradients = Pass(model.configuration, weights: model.weights, rows, .classes([2])).gradients
    let columns = model.configuration.hiddenSize
    let table = try #require(model.layout.slots.first { $0.name.hasSuffix("position_embeddings.weight") })
    let touched = (0..<19).filter { row in
      (0..<columns).contains { gradients[table.offset + row * columns + $0] != 0 }
    }
    #expect(touched == [2, 3, 4], "the padding's own position has no gradient")
    let words = try #require(model.layout.slots.first)
    #expect(gradients[words.offset + columns..<words.offset + 2 * columns].allSatisfy { $0 == 0 })
  }

  @Test("DistilBERT takes any token type and looks at none")
  func types() throws {
    let model = try OddModel("distilbert", labels: 3)
    func logits(_ type: Int32) -> [Float] {
      var rows = PackedRows()
      rows.append([5, 3, 7], types: [0, type, type], row: 0)
      return Pass(model.configuration, weights: model.weights, rows, .classes([2])).logits
    }
    #expect(logits(0) == logits(1))
    let bert = try OddModel(labels: 3)
    #expect(model.configuration.takes(tokenType: 1) && !bert.configuration.takes(tokenType: 2))
  }
}
