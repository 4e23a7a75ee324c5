import Datasets
import Kernels
import System
import TestSupport
import Testing
import Training

/// Saved folders in transformers, version by version.
struct FromPretrainedTests {
  /// Pythons with transformers and torch: `LOCKSTEP_PYTHON`, with a colon between two.
  static var pythons: [String] { (Golden.variable("LOCKSTEP_PYTHON") ?? "").split(separator: ":").map(String.init) }

  /// A folder as somebody may have it: tiny-bert with other files and keys.
  private func source(_ kind: String, in folder: TemporaryFolder) throws -> String {
    let copy = try folder.copy("\(Golden.folder)/tiny-bert", as: "source")
    func edit(_ old: String, _ new: String) throws {
      let text = String(decoding: try readBytes("\(copy)/config.json"), as: UTF8.self)
      #expect(text.contains(old))
      try folder.write(text.replacing(old, with: new), "source/config.json")
    }
    switch kind {
    case "floats":
      try edit("\"hidden_dropout_prob\": 0.1", "\"hidden_dropout_prob\": 0.0")
      try edit("\"initializer_range\": 0.02", "\"initializer_range\": 1.0")
    case "an element type of transformers 4":
      try edit(
        "\"dtype\": \"float32\"", "\"torch_dtype\": \"float16\", \"num_labels\": 2, \"_own\": {\"b\": 1e-3, \"a\": []}")
    default: break
    }
    return copy
  }

  private struct Row: Decodable {
    var ids: [Int32]
    var logits: [Float]
  }

  @Test(
    "a saved folder loads with AutoModel and AutoTokenizer: the same tokens, probabilities and label names",
    .enabled("LOCKSTEP_PYTHON names no Python with transformers") { !pythons.isEmpty },
    arguments: pythons, ["as it is", "floats", "an element type of transformers 4"])
  func fromPretrained(python: String, kind: String) throws {
    BLAS.setThreads(1)
    let folder = try TemporaryFolder()
    let source = try ModelFolder(source(kind, in: folder), labels: 2)
    let model = Model(source.configuration)
    _ = try model.loadWeights(folder: source.path, seed: 9)
    for index in 0..<model.parameters.count { model.parameters.pointer[index] *= 0.9 }
    let saved = "\(folder.path)/saved"
    try source.save(model, to: saved, labelNames: ["no", "yes"], home: nil)

    let texts = ["the otter watches a kettle", "Tobin, Tobin!", "", "ARE"]
    let script = """
      import json, sys, torch
      from transformers import AutoModelForSequenceClassification, AutoTokenizer
      before = AutoTokenizer.from_pretrained("\(source.path)")
      tokenizer = AutoTokenizer.from_pretrained("\(saved)")
      model, report = AutoModelForSequenceClassification.from_pretrained("\(saved)", output_loading_info=True)
      assert not any(report.values()), report
      assert model.config.id2label == {0: "no", 1: "yes"} and model.config.num_labels == 2, model.config
      assert model.config.label2id == {"no": 0, "yes": 1} and model.dtype == torch.float32, model.config
      model.eval(); out = []
      for text in \(texts):
          batch = tokenizer(text, return_tensors="pt")
          assert batch["input_ids"][0].tolist() == before(text)["input_ids"]
          with torch.no_grad(): logits = model(**batch).logits[0].tolist()
          out.append({"ids": batch["input_ids"][0].tolist(), "logits": logits})
      json.dump(out, open("\(folder.path)/rows.json", "w"))
      """
    let offline = ["HF_HUB_OFFLINE": "1"]
    let outcome = try Program.run([python, "-c", script], variables: offline, seconds: 120)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let rows = try Golden.json(path: "\(folder.path)/rows.json", as: [Row].self)
    for (text, row) in zip(texts, rows) {
      let pair = SentencePair(first: Array(text.utf8), second: nil, label: .category(0))
      let dataset = try TokenizedDataset([pair], tokenizer: source.tokenizer)
      #expect(dataset.inputIDs == row.ids)
      let logits = try model.forwardBackward(asOneBatch: dataset, keepsGradients: false).logits
      #expect(worstDifference("logits", logits, row.logits, within: 1e-5) == nil)
    }
  }

  @Test(
    "a saved regression, and heads of one class or several a row, load with their problem type, names and logits",
    .enabled("LOCKSTEP_PYTHON names no Python with transformers") { !pythons.isEmpty },
    arguments: pythons, ProblemType.allCases)
  func problemTypes(python: String, problem: ProblemType) throws {
    BLAS.setThreads(1)
    let folder = try TemporaryFolder()
    let names = problem == .regression ? ["LABEL_0"] : ["cross", "even", "glad"]
    let source = try ModelFolder("\(Golden.folder)/tiny-bert-\(names.count)", labels: names.count)
    let model = Model(source.configuration)
    _ = try model.loadWeights(folder: source.path, seed: 9)
    let saved = "\(folder.path)/saved"
    try source.save(model, to: saved, labelNames: problem == .regression ? [] : names, problem: problem, home: nil)
    let label: [Label] =
      problem == .regression ? [.score(1.5)] : problem == .multiLabel ? [.categories([0, 2])] : [.category(2)]
    let target = ["1.5", "[1.0, 0.0, 1.0]", "2"][problem == .regression ? 0 : problem == .multiLabel ? 1 : 2]
    let script = """
      import json, torch
      from transformers import AutoModelForSequenceClassification, AutoTokenizer
      tokenizer = AutoTokenizer.from_pretrained("\(saved)")
      model, report = AutoModelForSequenceClassification.from_pretrained("\(saved)", output_loading_info=True)
      assert not any(report.values()), report
      assert model.config.problem_type == "\(problem.rawValue)", model.config
      assert [model.config.id2label[i] for i in range(model.config.num_labels)] == \(names), model.config
      assert model.config.label2id == {n: i for i, n in enumerate(\(names))}, model.config
      model.eval()
      batch = tokenizer("the otter watches a kettle", return_tensors="pt")
      with torch.no_grad(): out = model(**batch, labels=torch.tensor([\(target)]))
      json.dump({"ids": batch["input_ids"][0].tolist(), "logits": out.logits[0].tolist() + [out.loss.item()]}, open("\(folder.path)/row.json", "w"))
      """
    let outcome = try Program.run([python, "-c", script], variables: ["HF_HUB_OFFLINE": "1"], seconds: 120)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let row = try Golden.json(path: "\(folder.path)/row.json", as: Row.self)
    let pair = SentencePair(first: Array("the otter watches a kettle".utf8), second: nil, label: label[0])
    let dataset = try TokenizedDataset([pair], tokenizer: source.tokenizer)
    let result = try model.forwardBackward(asOneBatch: dataset, keepsGradients: false)
    // transformers computes the loss, too, by the problem type.
    #expect(worstDifference("logits and loss", result.logits + [Float(result.loss)], row.logits, within: 1e-5) == nil)
  }

  @Test("config.json keeps its keys, their order and each number as it was written")
  func configuration() throws {
    BLAS.setThreads(1)
    let folder = try TemporaryFolder()
    let source = try ModelFolder(source("an element type of transformers 4", in: folder), labels: 2)
    let model = Model(source.configuration)
    try source.save(model, to: "\(folder.path)/saved", labelNames: ["no", "yes"], home: nil)
    let text = String(decoding: try readBytes("\(folder.path)/saved/config.json"), as: UTF8.self)
    #expect(
      text == """
        {
          "add_cross_attention": false,
          "architectures": [
            "BertForSequenceClassification"
          ],
          "attention_probs_dropout_prob": 0.1,
          "bos_token_id": null,
          "classifier_dropout": null,
          "torch_dtype": "float32",
          "_own": {
            "b": 1e-3,
            "a": []
          },
          "eos_token_id": null,
          "hidden_act": "gelu",
          "hidden_dropout_prob": 0.1,
          "hidden_size": 32,
          "initializer_range": 0.02,
          "intermediate_size": 64,
          "is_decoder": false,
          "layer_norm_eps": 1e-12,
          "max_position_embeddings": 40,
          "model_type": "bert",
          "num_attention_heads": 4,
          "num_hidden_layers": 2,
          "pad_token_id": 0,
          "tie_word_embeddings": true,
          "transformers_version": "5.23.0",
          "type_vocab_size": 2,
          "use_cache": true,
          "vocab_size": 135,
          "id2label": {
            "0": "no",
            "1": "yes"
          },
          "label2id": {
            "no": 0,
            "yes": 1
          },
          "problem_type": "single_label_classification"
        }

        """)
  }
}
