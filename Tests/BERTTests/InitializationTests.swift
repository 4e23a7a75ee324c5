import BERT
import Kernels
import System
import TestSupport
import Testing

/// Fresh weights and the reading of config.json.
struct InitializationTests {
  @Test("fresh weights: zero biases, unit gains, normal matrices, nothing for the padding")
  func freshWeights() throws {
    let model = try OddModel(labels: 3)
    func fresh(seed: UInt64) -> [Float] {
      var weights = [Float](repeating: .nan, count: model.layout.count)
      for slot in model.layout.slots {
        weights.withUnsafeMutableBufferPointer {
          model.layout.initialize(slot, of: $0.baseAddress!, configuration: model.configuration, seed: seed)
        }
      }
      return weights
    }
    let weights = fresh(seed: 1)
    #expect(fresh(seed: 1) == weights)
    #expect(fresh(seed: 2) != weights)
    for slot in model.layout.slots {
      let values = weights[slot.range]
      switch slot.kind {
      case .bias, .normShift: #expect(values.allSatisfy { $0 == 0 }, "\(slot.name)")
      case .normGain: #expect(values.allSatisfy { $0 == 1 }, "\(slot.name)")
      case .embedding, .weight:
        let numbers = slot.offset == 0 ? values.dropFirst(model.configuration.hiddenSize) : values
        let deviation = (numbers.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(numbers.count)).squareRoot()
        let error = 0.02 / (2 * Double(numbers.count)).squareRoot()
        #expect(abs(deviation - 0.02) < 4.5 * error, "\(slot.name) has deviation \(deviation)")
      }
    }
    #expect(weights[..<model.configuration.hiddenSize].allSatisfy { $0 == 0 }, "the padding's embedding")
  }

  private let good = [
    "model_type": "\"bert\"", "hidden_act": "\"gelu\"", "vocab_size": "37", "hidden_size": "24",
    "num_hidden_layers": "3",
    "num_attention_heads": "3", "intermediate_size": "20", "max_position_embeddings": "19", "type_vocab_size": "2",
    "layer_norm_eps": "1e-5", "initializer_range": "0.02", "hidden_dropout_prob": "0.1",
    "attention_probs_dropout_prob": "0.2",
  ]

  private func read(_ keys: [String: String]) -> (BertConfiguration?, String) {
    let text = "{" + keys.map { "\"\($0.key)\": \($0.value)" }.sorted().joined(separator: ",") + "}"
    var configuration: BertConfiguration?
    let problem = failure { () throws(Failure) in
      configuration = try BertConfiguration(json: Array(text.utf8), path: "config.json")
    }
    #expect(problem == nil || problem?.status == .configuration)
    return (configuration, problem?.description ?? "")
  }

  @Test("a value that cannot be is told with its place")
  func badValues() {
    for key in good.keys where key != "model_type" && key != "hidden_act" {
      for value in ["\"12\"", "-1", "null", "true", "[1]", "1e999", "99999999999999999999"] {
        let text = read(good.merging([key: value]) { $1 }).1
        #expect(text.hasPrefix("config.json:1:") && text.contains("\"\(key)\""), "\(key) = \(value): \(text)")
      }
    }
    for (key, value) in [
      ("model_type", "\"gpt2\""), ("hidden_act", "\"prelu\""), ("hidden_act", "null"), ("hidden_act", "7"),
      ("num_attention_heads", "5"), ("hidden_size", "1000000000"), ("hidden_size", "24.0"),
      ("vocab_size", "0"), ("pad_token_id", "37"), ("pad_token_id", "-38"),
      ("position_embedding_type", "\"relative_key\""), ("is_decoder", "true"), ("add_cross_attention", "true"),
      ("hidden_dropout_prob", "1"), ("classifier_dropout", "-0.5"), ("id2label", "{}"), ("id2label", "{\"x\": \"a\"}"),
      ("id2label", "[\"a\"]"), ("num_labels", "0"), ("num_labels", "65537"), ("layer_norm_eps", "1"),
    ] {
      let text = read(good.merging([key: value]) { $1 }).1
      #expect(text.hasPrefix("config.json:1:") && text.contains("\"\(key)"), "\(key) = \(value): \(text)")
    }
  }

  @Test("what config.json leaves out is as in transformers' BertConfig")
  func defaults() throws {
    let configuration = try #require(read([:]).0)
    #expect(configuration.vocabularySize == 30_522 && configuration.hiddenSize == 768 && configuration.layers == 12)
    #expect(configuration.heads == 12 && configuration.intermediateSize == 3072 && configuration.activation == .gelu)
    #expect(configuration.hiddenDropout == 0.1 && configuration.attentionDropout == 0.1)
    #expect(configuration.maximumPositions == 512 && configuration.tokenTypes == 2 && configuration.labels == 2)
    #expect(configuration.initializerRange == 0.02 && configuration.layerNormEpsilon == 1e-12)
    #expect(configuration.padTokenID == 0 && configuration.classifierDropout == 0.1)
  }

  @Test("a file without model_type is a BERT's, unless its architectures say otherwise")
  func withoutType() {
    #expect(read(["architectures": "[\"BertForPreTraining\"]"]).0 != nil)
    #expect(read(["model_type": "null", "architectures": "null"]).0 != nil)
    #expect(
      read(["architectures": "[\"RobertaModel\"]", "max_position_embeddings": "19"]).0?.family.modelType == "roberta")
    #expect(
      read(["architectures": "[\"GPT2Model\"]"]).1.contains("names GPT2Model, expected one of Bert…, DistilBert…"))
  }

  @Test("what may be missing, and what is not known, does no harm")
  func optionalKeys() throws {
    let (base, _) = read(good.merging(["use_cache": "true", "new_key": "[1, {\"a\": null}]"]) { $1 })
    let configuration = try #require(base)
    #expect(configuration.labels == 2 && configuration.classifierDropout == 0.1 && configuration.padTokenID == 0)
    #expect(configuration.headSize == 8)
    let named = read(good.merging(["id2label": "{\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}"]) { $1 }).0
    #expect(named?.labels == 3)
    for names in ["{\"0\": 0, \"1\": 1, \"2\": 2}", "{\"0\": null, \"1\": 1.5, \"2\": true}"] {
      #expect(read(good.merging(["id2label": names, "num_labels": "7"]) { $1 }).0?.labels == 3, "id2label comes first")
    }
    #expect(read(good.merging(["pad_token_id": "null"]) { $1 }).0?.padTokenID == .some(nil))
    #expect(read(good.merging(["pad_token_id": "-1"]) { $1 }).0?.padTokenID == 36)
    #expect(read(good.merging(["num_labels": "5"]) { $1 }).0?.labels == 5)
    #expect(read(good.merging(["classifier_dropout": "null"]) { $1 }).0?.classifierDropout == 0.1)
    #expect(read(good.merging(["classifier_dropout": "0.3"]) { $1 }).0?.classifierDropout == 0.3)
  }

  @Test("text that is no JSON is told")
  func badText() {
    let huge = "{\"model_type\": \"bert\", \"vocab_size\": 99999999999999999999}"
    for text in [huge, "", "{", "[]", "null", "{\"model_type\": \"bert\",}", "{\"a\": 1, \"a\": 1}"] {
      let problem = failure { () throws(Failure) in try BertConfiguration(json: Array(text.utf8), path: "config.json") }
      #expect(problem?.status == .configuration && problem?.place?.hasPrefix("config.json:1:") == true, "\(text)")
      #expect(problem.map { !$0.description.contains("\n") } ?? false, "\(text): \(String(describing: problem))")
    }
  }
}
