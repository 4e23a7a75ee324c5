import BERT
import Datasets
import Kernels
import System
import TestSupport
import Testing
import Tokenization
import Training

/// What is compared before memory is taken or a kernel runs: weights and rows against config.json.
struct FittingTests {
  private let folder: TemporaryFolder
  private let copy: String

  init() throws {
    BLAS.setThreads(1)
    folder = try TemporaryFolder()
    copy = try folder.copy("\(Golden.folder)/tiny-bert", as: "model")
  }

  private func change(_ text: String, to other: String) throws {
    let config = String(decoding: try readBytes("\(copy)/config.json"), as: UTF8.self)
    try #require(config.contains(text))
    try folder.write(config.replacing(text, with: other), "model/config.json")
  }

  private func pair(_ first: String = "the otter", _ label: Label = .category(0)) -> SentencePair {
    SentencePair(first: Array(first.utf8), second: Array("a".utf8), label: label)
  }

  // MARK: Rows

  @Test("pairs for a model of one token type are refused before a table is read, and so are their rows")
  func tokenTypes() throws {
    try change("\"type_vocab_size\": 2", to: "\"type_vocab_size\": 1")
    let folder = try ModelFolder(copy, labels: 2)
    let early = failure { () throws(Failure) in try folder.requireTokenTypes(for: .mrpc) }
    #expect(early?.status == .configuration && early?.place == "\(copy)/config.json")
    #expect(
      early?.message.contains("\"type_vocab_size\" is 1, but the sentence pairs of mrpc have token type 1") == true)
    let late = failure { () throws(Failure) in try folder.tokenized([pair()], name: "the rows") }
    let message = "row 1 has the token type 1, expected 0 to 0 (\"type_vocab_size\" of config.json)"
    #expect(late == Failure(.badData, at: "the rows", message))
    let single = SentencePair(first: Array("the".utf8), second: nil, label: .category(1))
    #expect(try folder.tokenized([single]).count == 1)
  }

  @Test("a number of a row that has no place in the model is refused with the row, the value and the limit")
  func numbers() throws {
    let tokenizer = try ModelFolder(copy, labels: 2).tokenizer
    let rows = try TokenizedDataset([pair("the"), pair("the soon")], tokenizer: tokenizer)
    let highest = try #require(rows.inputIDs.max())
    #expect(rows.tokens(1).contains { rows.inputIDs[$0] == highest })
    func refusal(_ text: String, _ other: String) throws -> String? {
      let config = String(decoding: try readBytes("\(copy)/config.json"), as: UTF8.self).replacing(text, with: other)
      let configuration = try BertConfiguration(json: Array(config.utf8), path: "config.json", labels: 2)
      return failure { () throws(Failure) in try rows.check(against: configuration) }?.message
    }
    #expect(try refusal("", "") == nil)
    #expect(
      try refusal("\"vocab_size\": 135", "\"vocab_size\": \(highest)")
        == "row 2 has the token \(highest), expected 0 to \(highest - 1) (\"vocab_size\" of config.json)")
    #expect(
      try refusal("\"max_position_embeddings\": 40", "\"max_position_embeddings\": 5")
        == "row 2 has 6 tokens, expected at most 5 (\"max_position_embeddings\" of config.json)")
  }

  @Test("a label that the model has no output for is refused")
  func labels() throws {
    func refusal(_ label: Label, labels: Int) throws -> String? {
      let folder = try ModelFolder(copy, labels: labels)
      return failure { () throws(Failure) in try folder.tokenized([pair(), pair("a", label)], name: "the rows") }?
        .message
    }
    #expect(try refusal(.category(1), labels: 2) == nil)
    #expect(try refusal(.unknown, labels: 2)?.hasPrefix("row 2 has no label") == true)
    #expect(try refusal(.category(2), labels: 2)?.hasPrefix("row 2 has the class 2") == true)
    #expect(try refusal(.category(-1), labels: 2)?.hasPrefix("row 2 has the class -1") == true)
    #expect(try refusal(.score(1), labels: 2)?.hasPrefix("row 2 has the score 1.0") == true)
    #expect(try refusal(.category(0), labels: 1)?.hasPrefix("row 1 has the class 0") == true)
  }

  @Test("long rows are cut to the model's positions")
  func positions() throws {
    let folder = try ModelFolder(copy, labels: 2)
    let long = pair(String(repeating: "the ", count: 100))
    #expect(try folder.tokenized([long], maxLength: 1000).longestRow == 40)
  }

  // MARK: Weights

  private func plan(ignoring: Bool = false, labels: Int = 2) throws(Failure) -> WeightPlan {
    try WeightPlan(
      folder: copy, for: ModelFolder(copy, labels: labels).configuration, ignoresMismatchedSizes: ignoring)
  }

  @Test("a config.json that claims more than the weights have is refused from their header alone")
  func largerThanWeights() throws {
    try change("\"intermediate_size\": 64", to: "\"intermediate_size\": 262144")
    try change("\"num_hidden_layers\": 2", to: "\"num_hidden_layers\": 1000")
    let problem = failure { () throws(Failure) in try plan() }
    #expect(
      problem?.status == .badData && problem?.message.contains("has shape [64, 32], expected [262144, 32]") == true)
    try change("\"intermediate_size\": 262144", to: "\"intermediate_size\": 64")
    let layers = failure { () throws(Failure) in try plan() }
    #expect(
      layers?.message == "no tensor bert.encoder.layer.2.attention.self.query.weight [32, 32], which config.json claims"
    )
  }

  @Test("with mismatched sizes ignored, that tensor alone starts fresh, and is said")
  func ignoredSizes() throws {
    #expect(failure { () throws(Failure) in try plan(labels: 5) } != nil)
    let weights = try plan(ignoring: true, labels: 5)
    #expect(
      weights.report.mismatched == [
        .init(name: "classifier.weight", shape: [2, 32], expected: [5, 32]),
        .init(name: "classifier.bias", shape: [2], expected: [5]),
      ])
    #expect(weights.report.initialized == [] && weights.report.unused == [])
    #expect(weights.report.lines.first?.contains("classifier.weight ([2, 32] in the checkpoint") == true)
    let model = Model(try ModelFolder(copy, labels: 5).configuration)
    try model.load(weights, seed: 3)
    let fresh = Model(model.configuration)
    fresh.initialize(seed: 3)
    let original = Model(try ModelFolder(copy, labels: 2).configuration)
    _ = try original.loadWeights(folder: copy, seed: 3)
    for (slot, other) in zip(model.layout.slots, original.layout.slots) {
      let expected =
        slot.name.hasPrefix("classifier")
        ? fresh.parameters.buffer[slot.range] : original.parameters.buffer[other.range]
      #expect(model.parameters.buffer[slot.range].elementsEqual(expected), "\(slot.name)")
    }
  }

  @Test("names from a file reach the terminal escaped")
  func escapedNames() {
    var report = LoadReport()
    report.unused = ["x\u{1B}[2J\nfinetune: error: forged"]
    #expect(report.lines == ["not used: x\\u{1b}[2J\\u{a}finetune: error: forged"])
  }

  // MARK: Memory

  @Test("memory that this host has not is refused before it is taken, with both figures")
  func memory() throws {
    let problem = failure { () throws(Failure) in
      try MemoryNeed(rank: 1 << 20, host: 1 << 50).require(for: "the training")
    }
    #expect(problem?.status == .unavailable)
    #expect(problem?.message.hasPrefix("the training needs 1125899.9 GB of memory, but this host has ") == true)
    let addresses = failure { () throws(Failure) in
      try MemoryNeed(rank: 1 << 60, host: 1 << 20).require(for: "the training")
    }
    #expect(addresses?.status == .unavailable && addresses?.message.contains("the process may not have it") == true)
    #expect(failure { () throws(Failure) in try MemoryNeed(rank: 1 << 20, host: 1 << 20).require(for: "x") } == nil)
  }

  @Test("the need of a training of extreme sizes is a number, and nothing is taken to find it")
  func extremeNeed() throws {
    let json = """
      {"hidden_size": 65536, "num_attention_heads": 1, "intermediate_size": 131072, "num_hidden_layers": 1,
       "max_position_embeddings": 65536}
      """
    let configuration = try BertConfiguration(json: Array(json.utf8), path: "config.json")
    let limits = BatchLimits(tokens: 1 << 32, sequences: 1 << 16, length: 1 << 16)
    #expect(MemoryNeed.training(configuration, limits: limits, ranksOnHost: 8).host > 1 << 50)
  }
}
