import BERT
import Kernels
import System
import TestSupport
import Testing
import Tokenization

/// A golden model with its batch of 8 rows.
struct GoldenModel: Sendable {
  let name: String
  let configuration: BertConfiguration
  let layout: ParameterLayout
  let weights: [Float]
  let rows: PackedRows
  let targets: Targets
  let logits: [Float]
  let loss: Double
  let gradientNorm: Double

  init(_ name: String) throws {
    BLAS.setThreads(1)
    self.name = name
    let folder = "\(Golden.folder)/\(name)"
    let golden = try #require(ForwardGolden.all()[name], "no golden \(name)")
    configuration = try BertConfiguration(
      json: readBytes("\(folder)/config.json"), path: name, labels: (try #require(golden.logits.first)).count)
    layout = ParameterLayout(configuration)
    weights = try layout.values(from: "\(folder)/model.safetensors")
    rows = try PackedRows(table: "\(Golden.folder)/mrpc/dev.tsv", first: 8, tokenizer: BertTokenizer(folder: folder))
    targets =
      configuration.labels == 1 ? .scores(golden.labels.map { Float($0) }) : .classes(golden.labels.map { Int32($0) })
    logits = golden.logits.flatMap(\.self)
    loss = golden.loss
    gradientNorm = golden.grad_norm
  }

  func pass(weights: [Float]? = nil, precision: ProductPrecision = .highest) -> Pass {
    Pass(configuration, weights: weights ?? self.weights, rows, targets, precision: precision)
  }

  func expectedGradients() throws -> [Float] {
    let folder = name == "tiny-bert" ? Golden.folder : "\(Golden.folder)/\(name)"
    return try layout.values(from: "\(folder)/gradients.safetensors")
  }
}

/// Forward and backward against torch and transformers.
struct GoldenTests {
  static let models = ["tiny-bert", "regression", "three-labels"] + Golden.families + Golden.otherFamilies

  @Test("logits, loss and every gradient are transformers'", arguments: models, [ProductPrecision.highest, .high])
  func forwardAndBackward(name: String, precision: ProductPrecision) throws {
    let model = try GoldenModel(name)
    let pass = model.pass(precision: precision)
    let labels = model.configuration.labels
    #expect(worstDifference("logits", shape: [8, labels], pass.logits, model.logits, within: 1e-5) == nil)
    #expect(abs(pass.loss - model.loss) <= 1e-5 * max(1, abs(model.loss)))
    #expect(model.layout.gradientDifferences(pass.gradients, try model.expectedGradients()) == [])
    let norm = sumOfSquares(count: pass.gradients.count, pass.gradients).squareRoot()
    #expect(relativeError(norm, model.gradientNorm) < 1e-5)
  }

  @Test(
    "any number of threads gives the same bits", arguments: ["tiny-bert"] + Golden.families,
    ProductPrecision.allCases.filter(\.isAvailable))
  func threads(name: String, precision: ProductPrecision) throws {
    let model = try GoldenModel(name)
    let dropout = DropoutPlan(seed: 3, step: 2)
    func pass(_ threads: Int) -> Pass {
      Pass(
        model.configuration, weights: model.weights, model.rows, model.targets, dropout: dropout,
        precision: precision, threads: threads)
    }
    let alone = pass(1)
    for count in 2...5 {
      let together = pass(count)
      // Not compared inside: a failure would print all of both.
      let (logits, gradients) = (together.logits == alone.logits, together.gradients == alone.gradients)
      #expect(logits && gradients, "\(count) threads: logits \(logits), gradients \(gradients)")
    }
  }

  @Test("names, shapes and number of parameters are those of transformers' state dict", arguments: models)
  func layout(name: String) throws {
    let model = try GoldenModel(name)
    let expected = try #require(ForwardGolden.all()[name]).shapes
    #expect(Dictionary(uniqueKeysWithValues: model.layout.slots.map { ($0.name, $0.shape) }) == expected)
    #expect(model.layout.slots.map(\.count) == model.layout.slots.map { $0.shape.reduce(1, *) })
    var offset = 0
    for slot in model.layout.slots {
      #expect(slot.offset == offset, "\(slot.name) follows its neighbour")
      offset += slot.count
    }
    #expect(model.layout.count == offset)
    let kinds = model.layout.slots.map(\.name).filter { name in
      name.hasSuffix("bias") || name.contains("LayerNorm") || name.contains("layer_norm")
    }
    #expect(model.layout.slots.filter { $0.kind.isBiasOrNorm }.map(\.name) == kinds)
  }

  /// What keeps the two tests above honest: each parameter, and each gradient, with the other sign must be noticed.
  ///
  /// Keys' biases are the exception by mathematics: they add the same to all scores of a query, which softmax ignores,
  /// so neither logits nor gradients of other parameters move, and their own gradient is 0.
  @Test("a wrong sign of any one parameter moves the logits", arguments: models)
  func flippedParameters(name: String) throws {
    let model = try GoldenModel(name)
    let network = BertClassifier(model.configuration, limits: model.rows.limits, keepsForBackward: false)
    for slot in model.layout.slots {
      var weights = model.weights
      for index in slot.range { weights[index] = -weights[index] }
      let logits = model.rows.withInput { input in
        network.forward(input, parameters: weights)
        return Array(network.logits)
      }
      let change = zip(logits, model.logits).reduce(0) { max($0, abs($1.0 - $1.1)) }
      if slot.isKeyBias {
        #expect(change < 1e-5, "\(slot.name) moves the logits by \(change)")
      } else {
        // Ten times what a right value may differ by.
        #expect(change > 1e-4, "\(slot.name) with the other sign moves the logits by \(change) only")
      }
    }
  }

  @Test("a wrong sign of any one gradient is noticed", arguments: models)
  func flippedGradients(name: String) throws {
    let model = try GoldenModel(name)
    let expected = try model.expectedGradients()
    let gradients = model.pass().gradients
    for slot in model.layout.slots where !slot.isKeyBias {
      var flipped = gradients
      for index in slot.range { flipped[index] = -flipped[index] }
      let problems = model.layout.gradientDifferences(flipped, expected)
      #expect(problems.count == 1 && problems[0].hasPrefix(slot.name), "\(slot.name) with the other sign: \(problems)")
    }
  }

  @Test("two parameters of the same shape, exchanged, move the logits")
  func exchangedParameters() throws {
    let model = try GoldenModel("tiny-bert")
    let pairs = zip(model.layout.slots, model.layout.slots.dropFirst()).filter { $0.shape == $1.shape }
    #expect(pairs.count > 0)
    let byShape = Dictionary(grouping: model.layout.slots.filter { !$0.isKeyBias }, by: \.shape)
    for slots in byShape.values {
      for (first, second) in zip(slots, slots.dropFirst()) {
        var weights = model.weights
        for index in 0..<first.count { weights.swapAt(first.offset + index, second.offset + index) }
        let change = zip(model.pass(weights: weights).logits, model.logits).reduce(0) { max($0, abs($1.0 - $1.1)) }
        // Ten times what a right value may differ by.
        #expect(change > 1e-4, "\(first.name) and \(second.name) exchanged move the logits by \(change) only")
      }
    }
  }
}
