import BERT
import Kernels
import Safetensors
import System
import TestSupport
import Testing
import Tokenization

/// One model under every activation, against torch and transformers.
struct ActivationTests {
  private struct Golden: Decodable {
    var logits: [[Float]]
    var loss: Double

    static let folder = "\(TestSupport.Golden.folder)/activations"

    static func named(_ name: String) throws -> Golden {
      try #require(try TestSupport.Golden.json("activations/forward.json", as: [String: Golden].self)[name])
    }
  }

  /// A name of each function, under which its gradients are kept.
  static let functions = [
    "gelu", "gelu_new", "quick_gelu", "relu", "relu2", "relu6", "leaky_relu", "silu", "mish", "tanh", "sigmoid",
  ]

  private struct Model {
    let configuration: BertConfiguration
    let layout: ParameterLayout
    let weights: [Float]
    let rows: PackedRows
    let targets: Targets

    init(_ activation: String) throws {
      BLAS.setThreads(1)
      let text = String(decoding: try readBytes("\(Golden.folder)/config.json"), as: UTF8.self)
      let changed = text.replacing("\"hidden_act\": \"gelu\"", with: "\"hidden_act\": \"\(activation)\"")
      configuration = try BertConfiguration(json: Array(changed.utf8), path: "config.json")
      layout = ParameterLayout(configuration)
      weights = try layout.values(from: "\(Golden.folder)/model.safetensors")
      let tables = TestSupport.Golden.folder
      rows = try PackedRows(
        table: "\(tables)/mrpc/dev.tsv", first: 8, tokenizer: BertTokenizer(folder: "\(tables)/tiny-bert"))
      targets = .classes(try #require(try ForwardGolden.all()["tiny-bert"]).labels.map { Int32($0) })
    }

    func pass(weights: [Float]? = nil) -> Pass {
      Pass(configuration, weights: weights ?? self.weights, rows, targets)
    }

    func expectedGradients(_ function: String) throws -> [Float] {
      let file = try SafetensorsFile("\(Golden.folder)/gradients.safetensors")
      var result = [Float](repeating: .nan, count: layout.count)
      try result.withUnsafeMutableBufferPointer { result in
        for slot in layout.slots {
          let tensor = try #require(file.tensor(named: "\(function)/\(slot.name)"))
          try file.readFloats(tensor, into: UnsafeMutableBufferPointer(rebasing: result[slot.range]))
        }
      }
      return result
    }
  }

  @Test("every name that config.json may have gives transformers' logits and loss", arguments: Activation.names)
  func forward(name: String) throws {
    let golden = try Golden.named(name)
    let pass = try Model(name).pass()
    #expect(worstDifference("logits", shape: [8, 2], pass.logits, golden.logits.flatMap(\.self), within: 1e-5) == nil)
    #expect(abs(pass.loss - golden.loss) <= 1e-5)
  }

  @Test("every gradient is torch's, under every activation", arguments: functions)
  func backward(function: String) throws {
    let model = try Model(function)
    let expected = try model.expectedGradients(function)
    let gradients = model.pass().gradients
    #expect(model.layout.gradientDifferences(gradients, expected) == [])
    for slot in model.layout.slots where !slot.isKeyBias {
      var flipped = gradients
      for index in slot.range { flipped[index] = -flipped[index] }
      let problems = model.layout.gradientDifferences(flipped, expected)
      #expect(problems.count == 1 && problems[0].hasPrefix(slot.name), "\(slot.name) with the other sign: \(problems)")
    }
  }

  @Test("no function passes for another", arguments: functions)
  func differs(function: String) throws {
    let model = try Model(function)
    let gradients = model.pass().gradients
    for other in Self.functions where other != function {
      #expect(model.layout.gradientDifferences(gradients, try model.expectedGradients(other)) != [], "\(other)")
    }
  }

  @Test("a wrong sign of any one parameter moves the logits, under every activation", arguments: functions)
  func flippedParameters(function: String) throws {
    let model = try Model(function)
    let logits = model.pass().logits
    for slot in model.layout.slots where !slot.isKeyBias {
      var weights = model.weights
      for index in slot.range { weights[index] = -weights[index] }
      let change = zip(model.pass(weights: weights).logits, logits).reduce(0) { max($0, abs($1.0 - $1.1)) }
      #expect(change > 1e-4, "\(slot.name) with the other sign moves the logits by \(change) only")
    }
  }

  @Test("without memory for backward the logits have the same bits", arguments: functions)
  func withoutSlopes(function: String) throws {
    let model = try Model(function)
    let network = BertClassifier(model.configuration, limits: model.rows.limits, keepsForBackward: false)
    let logits = model.rows.withInput { input in
      network.forward(input, parameters: model.weights)
      return Array(network.logits)
    }
    #expect(logits == model.pass().logits)
  }
}
