import BERT
import Datasets
import Kernels
import Safetensors
import System
import TestSupport
import Testing
import Training

/// Folders of BERT's family in and out.
struct FamilyFolderTests {
  private func load(_ path: String, labels: Int? = nil) throws(Failure) -> (Model, LoadReport, ModelFolder) {
    BLAS.setThreads(1)
    let folder = try ModelFolder(path, labels: labels)
    let model = Model(folder.configuration)
    return (model, try model.loadWeights(folder: path, seed: 9), folder)
  }

  /// Logits, loss and gradients of the first 8 rows against `golden`; nil where they are the same.
  private func problems(_ golden: ForwardGolden, in path: String) throws -> [String] {
    let (model, report, folder) = try load(path, labels: (try #require(golden.logits.first)).count)
    var problems = report.lines
    var pairs = Array(try loadSplit(.mrpc, folder: "\(Golden.folder)/mrpc", split: .validation).prefix(8))
    for index in pairs.indices {
      let label = golden.labels[index]
      pairs[index].label = folder.configuration.labels == 1 ? .score(Float(label)) : .category(Int(label))
    }
    let result = try model.forwardBackward(asOneBatch: folder.tokenized(pairs), keepsGradients: true)
    if let worst = worstDifference("logits", result.logits, golden.logits.flatMap(\.self), within: 1e-5) {
      problems.append(worst)
    }
    if abs(result.loss - golden.loss) > 1e-5 * max(1, abs(golden.loss)) { problems.append("loss \(result.loss)") }
    let gradients = try #require(result.gradients)
    let expected = try model.layout.values(from: "\(path)/gradients.safetensors")
    return problems + model.layout.gradientDifferences(Array(gradients.buffer), expected)
  }

  @Test("transformers' folders give transformers' logits, loss and gradients", arguments: Golden.families)
  func loads(name: String) throws {
    let golden = try #require(ForwardGolden.all()[name])
    #expect(try problems(golden, in: "\(Golden.folder)/\(name)") == [])
  }

  /// Checkpoints of the encoder alone, or with heads of pretraining: `discriminator_predictions` and the like.
  @Test(
    "a checkpoint of the encoder alone gets a fresh head, and what has no place is told", arguments: Golden.families)
  func encoderAlone(name: String) throws {
    let folder = try TemporaryFolder()
    let (model, _, source) = try load("\(Golden.folder)/\(name)")
    for isBare in [true, false] {
      let copy = try folder.copy("\(Golden.folder)/\(name)", as: "bare-\(isBare)")
      let slots = model.layout.slots.filter { !$0.belongsToHead }
      let extra = "discriminator_predictions.dense.weight"
      let writer = try SafetensorsWriter(
        "\(copy)/model.safetensors",
        slots.map {
          .init(isBare ? String($0.name.dropFirst($0.encoderPrefix.count)) : $0.name, shape: $0.shape)
        } + [.init(extra, shape: [2])])
      for slot in slots {
        try writer.append(UnsafeBufferPointer(rebasing: UnsafeBufferPointer(model.parameters.buffer)[slot.range]))
      }
      try [Float(1), 2].withUnsafeBufferPointer { (values) throws(Failure) in try writer.append(values) }
      try writer.commit()
      let (again, report, _) = try load(copy)
      #expect(report.initialized == source.configuration.layoutHeadNames && report.unused == [extra])
      #expect(
        slots.allSatisfy { slot in
          again.parameters.buffer[slot.range].elementsEqual(model.parameters.buffer[slot.range])
        })
    }
  }

  @Test(
    "a tensor of another shape is refused by its own name, with both shapes",
    arguments: [
      ("distilbert", "\"hidden_dim\": 64", "\"hidden_dim\": 65", "distilbert.transformer.layer.0.ffn.lin1.weight"),
      ("electra", "\"embedding_size\": 16", "\"embedding_size\": 17", "electra.embeddings.word_embeddings.weight"),
      ("electra", "\"hidden_size\": 32", "\"hidden_size\": 36", "electra.embeddings_project.weight"),
      (
        "roberta", "\"max_position_embeddings\": 66", "\"max_position_embeddings\": 67",
        "roberta.embeddings.position_embeddings.weight"
      ),
    ])
  func wrongShape(name: String, old: String, new: String, tensor: String) throws {
    let folder = try TemporaryFolder()
    let copy = try folder.copy("\(Golden.folder)/families/\(name)", as: "model")
    let text = String(decoding: try readBytes("\(copy)/config.json"), as: UTF8.self)
    #expect(text.contains(old))
    try folder.write(text.replacing(old, with: new), "model/config.json")
    let problem = failure { () throws(Failure) in try load(copy) }
    #expect(problem?.status == .badData && problem?.message.contains("tensor \(tensor) has shape") == true)
  }

  @Test("a head for other labels is told as such", arguments: Golden.families)
  func otherLabels(name: String) throws {
    let problem = failure { () throws(Failure) in try load("\(Golden.folder)/\(name)", labels: 3) }
    #expect(problem?.hint?.contains("another number of labels") == true && problem?.cause == .otherLabels)
  }

  @Test(
    "a saved folder keeps its family, unknown keys and tokenizer files, and loads with the same bits",
    arguments: Golden.families)
  func roundTrip(name: String) throws {
    let folder = try TemporaryFolder()
    let copy = try folder.copy("\(Golden.folder)/\(name)", as: "source")
    let text = String(decoding: try readBytes("\(copy)/config.json"), as: UTF8.self)
    try folder.write(text.replacing("\"dtype\":", with: "\"_own\": {\"b\": 1e-3}, \"dtype\":"), "source/config.json")
    let (model, _, source) = try load(copy)
    let saved = "\(folder.path)/saved"
    try source.save(model, to: saved, labelNames: ["no", "yes"], home: nil)
    let (again, report, target) = try load(saved)
    #expect(report.initialized == [] && report.unused == [])
    #expect(Array(again.parameters.buffer).map(\.bitPattern) == Array(model.parameters.buffer).map(\.bitPattern))
    #expect(target.configuration == source.configuration)
    for file in TemporaryFolder.entries(copy) where file != "config.json" && !file.hasSuffix(".safetensors") {
      #expect(try readBytes("\(saved)/\(file)") == readBytes("\(copy)/\(file)"))
    }
    // swift-format-ignore: AlwaysUseLowerCamelCase
    struct Saved: Decodable {
      struct Own: Decodable { var b: Double }
      var model_type: String
      var architectures: [String]
      var id2label: [String: String]
      var _own: Own
    }
    let configuration = try Golden.json(path: "\(saved)/config.json", as: Saved.self)
    #expect(configuration.model_type == source.configuration.family.modelType)
    #expect(configuration.architectures == [source.configuration.family.classifierClass])
    #expect(configuration.id2label == ["0": "no", "1": "yes"] && configuration._own.b == 1e-3)
  }

  // MARK: Against transformers as it is installed

  private struct Row: Decodable {
    var ids: [Int32]
    var probabilities: [Float]
  }

  @Test(
    "a saved folder loads with AutoModel and AutoTokenizer: the same tokens, probabilities and label names",
    .enabled("LOCKSTEP_PYTHON names no Python with transformers") { !FromPretrainedTests.pythons.isEmpty },
    arguments: FromPretrainedTests.pythons, Golden.families)
  func fromPretrained(python: String, name: String) throws {
    let folder = try TemporaryFolder()
    let (model, _, source) = try load("\(Golden.folder)/\(name)")
    for index in 0..<model.parameters.count { model.parameters.pointer[index] *= 0.9 }
    let saved = "\(folder.path)/saved"
    try source.save(model, to: saved, labelNames: ["no", "yes"], home: nil)
    let pairs = [
      ("the otter watches a kettle", "Tobin, Tobin!"), ("it's  1,024 <mask> kettles", "\u{e9}t\u{e9} \u{6771}"),
      ("ARE", ""),
    ]
    let list = pairs.map { "[\"\($0.0)\", \"\($0.1)\"]" }.joined(separator: ", ")
    let script = """
      import json, torch
      from transformers import AutoModelForSequenceClassification, AutoTokenizer
      tokenizer = AutoTokenizer.from_pretrained("\(saved)")
      model, report = AutoModelForSequenceClassification.from_pretrained("\(saved)", output_loading_info=True)
      assert not any(report.values()), report
      assert type(model).__name__ == "\(source.configuration.family.classifierClass)", model
      assert model.config.id2label == {0: "no", 1: "yes"} and model.config.num_labels == 2, model.config
      model.eval(); out = []
      for a, b in [\(list)]:
          batch = tokenizer([a], [b], return_tensors="pt")
          with torch.no_grad(): logits = model(**batch).logits[0]
          out.append({"ids": batch["input_ids"][0].tolist(), "probabilities": logits.softmax(-1).tolist()})
      json.dump(out, open("\(folder.path)/rows.json", "w"))
      """
    let outcome = try Program.run([python, "-c", script], variables: ["HF_HUB_OFFLINE": "1"], seconds: 300)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let rows = try Golden.json(path: "\(folder.path)/rows.json", as: [Row].self)
    try #require(rows.count == pairs.count)
    for (pair, row) in zip(pairs, rows) {
      let pair = SentencePair(first: Array(pair.0.utf8), second: Array(pair.1.utf8), label: .category(0))
      let dataset = try source.tokenized([pair])
      #expect(dataset.inputIDs == row.ids)
      let logits = try model.forwardBackward(asOneBatch: dataset, keepsGradients: false).logits
      let sum = logits.reduce(0) { $0 + exponential($1) }
      #expect(
        worstDifference("probabilities", logits.map { exponential($0) / sum }, row.probabilities, within: 1e-5) == nil)
    }
  }

  @Test(
    "other random models of each family: logits, gradients and 60 steps are transformers'",
    .enabled("LOCKSTEP_PYTHON names no Python with transformers") { !FromPretrainedTests.pythons.isEmpty })
  func askedNow() throws {
    let folder = try TemporaryFolder()
    let python = try #require(FromPretrainedTests.pythons.first)
    let seed = Int.random(in: 1...1_000_000)
    print("make_families.py --seed \(seed)")
    let outcome = try Program.run(
      [python, "\(Golden.folder)/make_families.py", "--out", folder.path, "--seed", "\(seed)"],
      variables: ["HF_HUB_OFFLINE": "1"], seconds: 600)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let forwards = try Golden.json(path: "\(folder.path)/forward.json", as: [String: ForwardGolden].self)
    let curves = try Golden.json(path: "\(folder.path)/curves.json", as: [String: CurveGolden].self)
    try #require(forwards.count == 6 && curves.count == 3)
    for (name, golden) in forwards {
      #expect(try problems(golden, in: "\(folder.path)/\(name)") == [], "\(name)")
    }
    for (name, golden) in curves {
      var run = Run(golden)
      run.folder = "\(folder.path)/\(name)"
      let result = try #require(run(ranks: 1).first)
      #expect(differences(result.steps, golden.expected) == [], "\(name)")
    }
  }
}

extension BertConfiguration {
  fileprivate var layoutHeadNames: [String] { ParameterLayout(self).headSlots.map(\.name) }
}
