import Datasets
import Kernels
import Safetensors
import System
import TestSupport
import Testing
import Training

/// Checkpoint folders in and out.
struct LoadAndSaveTests {
  /// The model in a folder, and what loading it reported.
  private func load(_ path: String, labels: Int? = nil) throws(Failure) -> (Model, LoadReport, ModelFolder) {
    BLAS.setThreads(1)
    let folder = try ModelFolder(path, labels: labels)
    let model = Model(folder.configuration)
    return (model, try model.loadWeights(folder: path, seed: 9), folder)
  }

  private func firstRows(_ folder: ModelFolder, labels: [Label]? = nil) throws -> TokenizedDataset {
    var pairs = Array(try loadSplit(.mrpc, folder: "\(Golden.folder)/mrpc", split: .validation).prefix(8))
    if let labels { for index in pairs.indices { pairs[index].label = labels[index] } }
    return try TokenizedDataset(pairs, tokenizer: folder.tokenizer, maxLength: 40)
  }

  @Test(
    "transformers' folders in every form give transformers' logits and loss",
    arguments: ["tiny-bert", "tiny-bert-fp16", "tiny-bert-bf16", "regression", "three-labels"])
  func loads(name: String) throws {
    let golden = try #require(ForwardGolden.all()[name])
    let (model, report, folder) = try load(
      "\(Golden.folder)/\(name)", labels: (try #require(golden.logits.first)).count)
    #expect(report.initialized == [] && report.unused == [])
    let labels = golden.labels.map { folder.configuration.labels == 1 ? Label.score(Float($0)) : .category(Int($0)) }
    let result = try model.forwardBackward(asOneBatch: firstRows(folder, labels: labels), keepsGradients: true)
    #expect(worstDifference("logits", result.logits, golden.logits.flatMap(\.self), within: 1e-5) == nil)
    #expect(abs(result.loss - golden.loss) <= 1e-5 * max(1, abs(golden.loss)))
    #expect(relativeError(result.gradientNorm, golden.grad_norm) < 1e-4)
  }

  @Test("old names without the prefix, and heads of pretraining, are understood and told")
  func oldNames() throws {
    let (model, report, _) = try load("\(Golden.folder)/tiny-bert-old", labels: 2)
    let (half, _, _) = try load("\(Golden.folder)/tiny-bert-fp16", labels: 2)
    #expect(report.initialized.sorted() == ["classifier.bias", "classifier.weight"])
    #expect(
      report.unused.sorted() == [
        "cls.predictions.bias", "cls.predictions.transform.LayerNorm.gamma", "cls.predictions.transform.dense.weight",
        "cls.seq_relationship.weight", "embeddings.position_ids",
      ])
    for slot in model.layout.slots where !slot.name.hasPrefix("classifier") {
      #expect(
        worstDifference(slot.name, model.parameters.buffer[slot.range], half.parameters.buffer[slot.range], within: 0)
          == nil)
    }
    let (again, _, _) = try load("\(Golden.folder)/tiny-bert-old", labels: 2)
    #expect(Array(again.parameters.buffer) == Array(model.parameters.buffer), "fresh weights depend on the seed alone")
    let weight = try #require(model.layout.slots.first { $0.name == "classifier.weight" })
    let values = model.parameters.buffer[weight.range]
    #expect(values.allSatisfy { abs($0) < 0.1 } && values.contains { abs($0) > 0.005 })
  }

  @Test("a tensor of another shape is refused by name, with both shapes")
  func wrongShape() throws {
    let folder = try TemporaryFolder()
    let copy = try folder.copy("\(Golden.folder)/tiny-bert", as: "model")
    let text = String(decoding: try readBytes("\(copy)/config.json"), as: UTF8.self)
    try folder.write(
      text.replacing("\"intermediate_size\": 64", with: "\"intermediate_size\": 65"), "model/config.json")
    let problem = failure { () throws(Failure) in try load(copy) }
    #expect(problem?.status == .badData)
    let expected = "tensor bert.encoder.layer.0.intermediate.dense.weight has shape [64, 32], expected [65, 32]"
    #expect(
      problem?.place == "\(copy)/model.safetensors" && problem?.message == expected, "\(String(describing: problem))")

    let labels = failure { () throws(Failure) in try load("\(Golden.folder)/three-labels", labels: 2) }
    #expect(labels?.message.contains("classifier.weight has shape [3, 20], expected [2, 20]") == true)
    #expect(labels?.cause == .otherLabels && labels?.hint?.contains("another number of labels") == true)
  }

  @Test("a file of which nothing fits is refused")
  func nothingFits() throws {
    let folder = try TemporaryFolder()
    let copy = try folder.copy("\(Golden.folder)/tiny-bert", as: "model")
    let writer = try SafetensorsWriter("\(copy)/model.safetensors", [.init("vision.patches", shape: [2])])
    try [Float(1), 2].withUnsafeBufferPointer { (values) throws(Failure) in try writer.append(values) }
    try writer.commit()
    let problem = failure { () throws(Failure) in try load(copy) }
    #expect(problem?.status == .badData && problem?.message.contains("no tensor fits a model of type bert") == true)
  }

  @Test("a missing folder, file or vocabulary that is too large are told")
  func missing() throws {
    let folder = try TemporaryFolder()
    #expect(failure { () throws(Failure) in try load("\(folder.path)/none") }?.status == .missingInput)
    for name in ["config.json", "vocab.txt", "model.safetensors"] {
      let copy = try folder.copy("\(Golden.folder)/tiny-bert", as: "without-\(name)")
      try TemporaryFolder.removeFile("\(copy)/\(name)")
      let problem = failure { () throws(Failure) in try load(copy) }
      #expect(problem?.status == .missingInput && problem?.description.contains(name) == true, "\(name)")
    }
    let copy = try folder.copy("\(Golden.folder)/tiny-bert", as: "large")
    try folder.write(try readBytes("\(copy)/vocab.txt") + Array("onemore\n".utf8), "large/vocab.txt")
    let problem = failure { () throws(Failure) in try load(copy) }
    #expect(problem?.status == .badData && problem?.message.contains("136 tokens") == true)
  }

  @Test(
    "a saved folder loads with the same bits and keeps what config.json said",
    arguments: ["tiny-bert", "tiny-bert-old"])
  func roundTrip(name: String) throws {
    let (model, _, source) = try load("\(Golden.folder)/\(name)", labels: 2)
    let folder = try TemporaryFolder()
    let saved = "\(folder.path)/a/b"
    try source.save(model, to: saved, labelNames: ["no", "yes"], home: nil)
    let (again, report, target) = try load(saved)
    #expect(report.initialized == [] && report.unused == [])
    #expect(Array(again.parameters.buffer).map(\.bitPattern) == Array(model.parameters.buffer).map(\.bitPattern))
    #expect(target.configuration == source.configuration)
    #expect(
      TemporaryFolder.entries(saved) == ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"])
    for file in ["vocab.txt", "tokenizer_config.json"] {
      #expect(try readBytes("\(saved)/\(file)") == readBytes("\(source.path)/\(file)"))
    }
    // swift-format-ignore: AlwaysUseLowerCamelCase
    struct Saved: Decodable {
      var architectures: [String]
      var id2label: [String: String]
      var label2id: [String: Int]
      var dtype: String
      var hidden_dropout_prob, layer_norm_eps: Double
      var tie_word_embeddings: Bool
    }
    let config = try Golden.json(path: "\(saved)/config.json", as: Saved.self)
    #expect(config.architectures == ["BertForSequenceClassification"] && config.dtype == "float32")
    #expect(config.id2label == ["0": "no", "1": "yes"] && config.label2id == ["no": 0, "yes": 1])
    #expect(config.hidden_dropout_prob == 0.1 && config.layer_norm_eps == 1e-12 && config.tie_word_embeddings)
  }

  @Test("saving over a folder replaces it; where that is impossible, nothing is lost")
  func savingTwice() throws {
    let (model, _, source) = try load("\(Golden.folder)/tiny-bert", labels: 2)
    let folder = try TemporaryFolder()
    let saved = "\(folder.path)/saved"
    try source.save(model, to: saved, labelNames: ["no", "yes"], home: nil)
    model.parameters.pointer[0] = 42
    try source.save(model, to: saved, labelNames: ["no", "yes"], home: nil)
    let (again, _, _) = try load(saved)
    #expect(Array(again.parameters.buffer).first == 42)
    try folder.write("a file", "file")
    let problem = failure { () throws(Failure) in
      try source.save(model, to: "\(folder.path)/file", labelNames: [], home: nil)
    }
    #expect(problem?.status == .cannotCreate)
    #expect(try readBytes("\(folder.path)/file") == Array("a file".utf8))
  }
}
