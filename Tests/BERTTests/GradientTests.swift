import BERT
import Kernels
import TestSupport
import Testing

/// A model of odd sizes with random weights, and a batch of rows of 1 to 17 tokens.
struct OddModel: Sendable {
  let configuration: BertConfiguration
  let layout: ParameterLayout
  let weights: [Float]
  let rows: PackedRows
  let targets: Targets

  init(_ family: String = "bert", labels: Int, dropout: Double = 0, lengths: [Int] = Array(1...17), seed: UInt64 = 11)
    throws
  {
    BLAS.setThreads(1)
    let json = """
      {"model_type": "\(family)", "hidden_act": "gelu", "vocab_size": 37, "hidden_size": 24, "num_hidden_layers": 3,
       "num_attention_heads": 3, "intermediate_size": 20, "max_position_embeddings": 19, "type_vocab_size": 2,
       "layer_norm_eps": 1e-5, "initializer_range": 0.02, "hidden_dropout_prob": 0,
       "attention_probs_dropout_prob": 0, "num_labels": \(labels), "embedding_size": 28, "hidden_dim": 20}
      """
    var configuration = try BertConfiguration(json: Array(json.utf8), path: "odd")
    configuration.setDropout(dropout)
    self.configuration = configuration
    layout = ParameterLayout(configuration)
    var numbers = Numbers(seed)
    var weights = numbers.floats(layout.count, in: -0.4...0.4)
    for slot in layout.slots where slot.kind == .normGain {
      for index in slot.range { weights[index] += 1 }
    }
    self.weights = weights
    rows = PackedRows(lengths: lengths, vocabularySize: 37, using: &numbers)
    targets =
      labels == 1
      ? .scores(numbers.floats(lengths.count, in: 0...5)) : .classes(lengths.indices.map { Int32($0 % labels) })
  }

  func pass(weights: [Float]? = nil, dropout: DropoutPlan? = nil) -> Pass {
    Pass(configuration, weights: weights ?? self.weights, rows, targets, dropout: dropout)
  }

  /// The slope of the loss along `direction`, by finite differences of fourth order in steps of `step`.
  func slope(along direction: [Float], step: Double = 4e-3, dropout: DropoutPlan? = nil) -> Double {
    func loss(_ distance: Double) -> Double {
      let moved = zip(weights, direction).map { Float(Double($0) + distance * Double($1)) }
      return pass(weights: moved, dropout: dropout).loss
    }
    return (8 * (loss(step) - loss(-step)) - (loss(2 * step) - loss(-2 * step))) / (12 * step)
  }
}

/// Backward against forward, without any other implementation.
struct GradientTests {
  /// Compares the slope along random directions in each slot alone: a bad gradient is found where it is.
  private func checkSlopes(_ model: OddModel, dropout: DropoutPlan? = nil) {
    var numbers = Numbers(23)
    let gradients = model.pass(dropout: dropout).gradients
    for slot in model.layout.slots where !slot.isKeyBias {
      var direction = [Float](repeating: 0, count: model.layout.count)
      for index in slot.range { direction[index] = Bool.random(using: &numbers) ? 1 : -1 }
      let length = Double(slot.count).squareRoot()
      for index in slot.range { direction[index] /= Float(length) }
      let expected = zip(gradients, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      let found = model.slope(along: direction, dropout: dropout)
      let norm = sumOfSquares(count: slot.count, Array(gradients[slot.range])).squareRoot()
      #expect(
        abs(found - expected) <= 2e-3 * norm + 2e-5,
        "\(slot.name): the slope is \(found), the gradient says \(expected), its norm is \(norm)")
    }
  }

  @Test("gradients are the slopes of the loss, parameter by parameter", arguments: [1, 3])
  func finiteDifferences(labels: Int) throws {
    checkSlopes(try OddModel(labels: labels, lengths: [1, 2, 5, 17]))
  }

  @Test(
    "the same with dropout on, at a fixed address", arguments: ["bert", "distilbert", "electra", "roberta"], [1, 3])
  func finiteDifferencesWithDropout(family: String, labels: Int) throws {
    let model = try OddModel(family, labels: labels, dropout: 0.3, lengths: [1, 2, 5, 17])
    checkSlopes(model, dropout: DropoutPlan(seed: 5, step: 3))
  }

  @Test("a few directions through all parameters at once, lengths 1 to 17", arguments: [1, 3], [0, 0.3])
  func finiteDifferencesThroughAll(labels: Int, probability: Double) throws {
    let model = try OddModel(labels: labels, dropout: probability)
    let plan = probability > 0 ? DropoutPlan(seed: 5, step: 3) : nil
    let gradients = model.pass(dropout: plan).gradients
    for seed in 1...3 as ClosedRange<UInt64> {
      var numbers = Numbers(seed)
      let length = Float(model.layout.count).squareRoot()
      let direction = numbers.floats(model.layout.count).map { $0 / length }
      let expected = zip(gradients, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      let found = model.slope(along: direction, step: 2e-2, dropout: plan)
      let norm = sumOfSquares(count: gradients.count, gradients).squareRoot()
      #expect(abs(found - expected) <= 1e-4 * norm + 2e-5, "the slope is \(found), the gradient says \(expected)")
    }
  }

  @Test("keys' biases have no gradient")
  func keyBiases() throws {
    let model = try OddModel(labels: 3)
    let gradients = model.pass().gradients
    let slots = model.layout.slots.filter(\.isKeyBias)
    #expect(slots.count == 3)
    for slot in slots {
      let largest = gradients[slot.range].map { abs($0) }.max() ?? 0
      #expect(largest <= 1e-7, "\(slot.name) has a gradient of \(largest)")
    }
  }

  @Test(
    "adding mode adds to what is there, and twice is twice", arguments: ["bert", "distilbert", "electra", "roberta"])
  func addingMode(family: String) throws {
    let model = try OddModel(family, labels: 3)
    let network = BertClassifier(model.configuration, limits: model.rows.limits)
    let once = Pass(network, weights: model.weights, model.rows, model.targets).gradients
    var numbers = Numbers(3)
    let before = numbers.floats(model.layout.count)
    var sum = before
    model.rows.withInput { input in
      network.forward(input, parameters: model.weights)
      guard case .classes(let labels) = model.targets else { return }
      _ = network.crossEntropyLoss(labels: labels, gradientScale: 1 / Double(model.rows.count))
      sum.withUnsafeMutableBufferPointer {
        network.backward(parameters: model.weights, gradients: $0.baseAddress!, .add)
      }
    }
    for slot in model.layout.slots {
      let expected = slot.range.map { before[$0] + once[$0] }
      #expect(worstDifference(slot.name, shape: slot.shape, sum[slot.range], expected, within: 2e-6) == nil)
    }
  }

  @Test("the gradient of a batch is the sum over its parts")
  func parts() throws {
    let model = try OddModel(labels: 3)
    let whole = model.pass()
    let scale = 1 / Double(model.rows.count)
    var sum = [Double](repeating: 0, count: model.layout.count)
    var loss = 0.0
    for part in [[3, 16, 0], [1], [15, 2, 4, 5, 6, 7, 8], [9, 10, 14, 13, 12, 11]] {
      let pass = Pass(
        model.configuration, weights: model.weights, model.rows.selecting(part), model.targets.selecting(part),
        scale: scale)
      loss += pass.loss
      for index in sum.indices { sum[index] += Double(pass.gradients[index]) }
    }
    #expect(abs(loss - whole.loss) < 1e-6)
    #expect(model.layout.gradientDifferences(whole.gradients, sum.map { Float($0) }, tolerance: 1e-5) == [])
  }

  @Test(
    "what lies above a final offset does not change any more; the last offset is 0",
    arguments: ["bert", "distilbert", "electra", "roberta"])
  func finalOffsets(family: String) throws {
    let model = try OddModel(family, labels: 3)
    var seen: [(offset: Int, values: [Float])] = []
    let pass = Pass(model.configuration, weights: model.weights, model.rows, model.targets) { offset, gradients in
      seen.append((offset, Array(UnsafeBufferPointer(start: gradients + offset, count: model.layout.count - offset))))
    }
    let offsets = seen.map(\.offset)
    #expect(offsets == offsets.sorted(by: >) && offsets.last == 0)
    #expect(Set(offsets).count == model.configuration.layers + 2, "head, each layer, embeddings: \(offsets)")
    for (offset, values) in seen {
      #expect(values == Array(pass.gradients[offset...]), "gradients above \(offset) have changed")
    }
    #expect(pass.gradients.allSatisfy { $0.isFinite }, "every gradient is overwritten")
  }

  @Test("[PAD] inside a text is computed with, but its embedding gets no gradient")
  func padding() throws {
    let model = try OddModel(labels: 3)
    var rows = PackedRows()
    rows.append([5, 0, 7, 0], types: [0, 0, 1, 1], row: 0)
    let targets = Targets.classes([2])
    func pass(_ weights: [Float]) -> Pass { Pass(model.configuration, weights: weights, rows, targets) }
    let base = pass(model.weights)
    let columns = model.configuration.hiddenSize
    #expect(base.gradients[..<columns].allSatisfy { $0 == 0 })
    #expect(base.gradients[5 * columns..<6 * columns].contains { $0 != 0 })
    var weights = model.weights
    for index in 0..<columns { weights[index] = -weights[index] }
    #expect(pass(weights).logits != base.logits, "its embedding takes part in forward")
  }
}
