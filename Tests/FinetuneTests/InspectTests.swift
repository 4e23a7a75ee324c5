import FoundationEssentials
import Safetensors
import System
import TestSupport
import Testing

// swift-format-ignore: AlwaysUseLowerCamelCase
/// What `inspect forward` prints.
struct ForwardOutput: Decodable {
  var rows: Int
  var logits: [[Float]]
  var loss: Double
  var grad_norm: Double?

  static func of(_ arguments: [String]) throws -> ForwardOutput {
    let outcome = try inspect(["forward"] + arguments)
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    return try JSONDecoder().decode(ForwardOutput.self, from: Data(outcome.output.utf8))
  }
}

/// Where two files of tensors differ by more than the contract's bound; keys' biases are 0 up to 1e-7.
func tensorDifferences(_ path: String, _ expectedPath: String) throws -> [String] {
  let (file, expected) = (try SafetensorsFile(path), try SafetensorsFile(expectedPath))
  func floats(_ file: SafetensorsFile, _ tensor: TensorInfo) throws -> [Float] {
    var values = [Float](repeating: .nan, count: tensor.count)
    try values.withUnsafeMutableBufferPointer { (values) throws(Failure) in try file.readFloats(tensor, into: values) }
    return values
  }
  guard file.tensors.count == expected.tensors.count else { return ["\(file.tensors.count) tensors"] }
  return try expected.tensors.compactMap { golden in
    guard let tensor = file.tensor(named: golden.name), tensor.shape == golden.shape else { return "no \(golden.name)" }
    let (values, goldens) = (try floats(file, tensor), try floats(expected, golden))
    let largest = goldens.map { Double(abs($0)) }.max() ?? 0
    let bound = golden.name.hasSuffix("attention.self.key.bias") ? 1e-7 : 1e-4 * largest
    return worstDifference(golden.name, shape: golden.shape, values, goldens, within: bound)
  }
}

extension Programs {
  struct Inspection {
    @Test("inspect forward gives transformers' logits, loss and gradients")
    func forward() throws {
      let golden = try #require(ForwardGolden.all()["tiny-bert"])
      let folder = try TemporaryFolder()
      let gradients = "\(folder.path)/gradients.safetensors"
      let output = try ForwardOutput.of(tinyModel + ["--rows", "8", "--gradients", gradients])
      #expect(output.rows == 8)
      #expect(
        worstDifference("logits", output.logits.flatMap(\.self), golden.logits.flatMap(\.self), within: 1e-5) == nil)
      #expect(abs(output.loss - golden.loss) < 1e-5)
      #expect(relativeError(output.grad_norm ?? .nan, golden.grad_norm) < 1e-4)
      #expect(try tensorDifferences(gradients, "\(Golden.folder)/gradients.safetensors") == [])
    }

    @Test("inspect model lists every parameter of the state dict")
    func model() throws {
      struct Table: Decodable {
        struct Tensor: Decodable {
          var name: String
          var shape: [Int]
          var count, offset: Int
        }
        var parameters: Int
        var tensors: [Tensor]
      }
      let outcome = try inspect(["model", "--model", "\(Golden.folder)/tiny-bert"])
      #expect(outcome.status == 0)
      let table = try JSONDecoder().decode(Table.self, from: Data(outcome.output.utf8))
      let shapes = try #require(ForwardGolden.all()["tiny-bert"]).shapes
      #expect(Dictionary(uniqueKeysWithValues: table.tensors.map { ($0.name, $0.shape) }) == shapes)
      #expect(table.parameters == table.tensors.reduce(0) { $0 + $1.count })
      #expect(zip(table.tensors, table.tensors.dropFirst()).allSatisfy { $0.offset + $0.count == $1.offset })
    }

    @Test("inspect tokens encodes texts, pairs and tables")
    func tokens() throws {
      // swift-format-ignore: AlwaysUseLowerCamelCase
      struct Row: Decodable, Equatable { var input_ids, token_type_ids, attention_mask: [Int] }
      func rows(_ arguments: [String]) throws -> [Row] {
        let outcome = try inspect(["tokens", "--model", "\(Golden.folder)/tiny-bert"] + arguments)
        #expect(outcome.status == 0, "\(outcome.errors)")
        return try outcome.outputLines.map { try JSONDecoder().decode(Row.self, from: Data($0.utf8)) }
      }
      let words = try readBytes("\(Golden.folder)/tiny-bert/vocab.txt").split(separator: UInt8(ascii: "\n"))
      func ids(_ tokens: [String]) throws -> [Int] {
        try tokens.map { token in try #require(words.firstIndex { $0.elementsEqual(token.utf8) }, "\(token)") }
      }
      let text = try rows(["--text", "The UNABLE zebra", "--text-pair", "-- rusty."])
      let expected = ["[CLS]", "the", "un", "##able", "[UNK]", "[SEP]", "-", "-", "rusty", ".", "[SEP]"]
      #expect(try text.map(\.input_ids) == [ids(expected)])
      #expect(text.map(\.token_type_ids) == [[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]])
      #expect(text.map(\.attention_mask) == [Array(repeating: 1, count: 11)])
      let table = try rows(["--tsv", "\(Golden.folder)/mrpc/dev.tsv", "--max-length", "9"])
      #expect(table.count == 30 && table.allSatisfy { $0.input_ids.count <= 9 && $0.input_ids.first == 2 })
    }

    @Test(
      "inspect tells what is wrong, with the status",
      arguments: [
        (["forward", "--model", "none", "--data", "none"], ExitCode.missing),
        (["forward", "--model", "MODEL", "--data", "MRPC", "--rows", "0"], .usage),
        (["forward", "--model", "MODEL", "--data", "MRPC", "--rows", "31"], .usage),
        (["forward", "--model", "MODEL", "--data", "MRPC", "--max-length", "1"], .usage),
        (["model", "--model", "none"], .missing), (["tokens", "--model", "MODEL"], .usage),
        (["tokens", "--model", "MODEL", "--tsv", "none"], .missing), (["shards"], .usage), (["nothing"], .usage),
        (["forward", "--model", "MODEL", "--data", "MRPC", "--gradients", "none/file"], .cannotCreate),
      ])
    func badInput(arguments: [String], expected: ExitCode) throws {
      let places = ["MODEL": "\(Golden.folder)/tiny-bert", "MRPC": "\(Golden.folder)/mrpc"]
      let outcome = try inspect(arguments.map { places[$0] ?? $0 })
      #expect(outcome.status == expected.rawValue && outcome.output == "", "\(outcome.output)\(outcome.errors)")
      #expect(!outcome.errors.isEmpty)
    }

    enum ExitCode: Int32 { case usage = 64, missing = 66, cannotCreate = 73 }

    @Test("help is help", arguments: [[], ["tokens"], ["shards"], ["batches"], ["model"], ["forward"]])
    func help(command: [String]) throws {
      let outcome = try inspect(command + ["--help"])
      #expect(outcome.status == 0 && outcome.output.contains("USAGE: inspect") && outcome.errors == "")
    }
  }

  /// The reference's values on real data, through the programs.
  @Suite(.needs(.reference))
  struct Reference {
    private func model() throws -> [String] {
      ["--model", try Golden.inReference("golden/tiny-bert"), "--data", try Golden.inReference("data/glue/MRPC")]
    }

    @Test("logits, loss and every gradient of forward.json")
    func forward() throws {
      // swift-format-ignore: AlwaysUseLowerCamelCase
      struct Values: Decodable {
        var logits: [[Float]]
        var loss, grad_norm: Double
      }
      let golden = try Golden.json(path: Golden.inReference("golden/forward.json"), as: Values.self)
      let folder = try TemporaryFolder()
      let gradients = "\(folder.path)/gradients.safetensors"
      let output = try ForwardOutput.of(model() + ["--rows", "8", "--gradients", gradients])
      #expect(
        worstDifference("logits", output.logits.flatMap(\.self), golden.logits.flatMap(\.self), within: 1e-5) == nil)
      #expect(abs(output.loss - golden.loss) < 1e-5 && relativeError(output.grad_norm ?? .nan, golden.grad_norm) < 1e-4)
      #expect(try tensorDifferences(gradients, Golden.inReference("golden/gradients.safetensors")) == [])
    }

    @Test(
      "the curves, alone and on two ranks", arguments: ["curve_plain", "curve_clip_warmup", "curve_accumulate"], [1, 2])
    func curve(name: String, ranks: Int) throws {
      let golden = try Golden.json(path: Golden.inReference("golden/\(name).json"), as: CurveGolden.self)
      let folder = try TemporaryFolder()
      let metrics = "\(folder.path)/metrics"
      let outcome = try finetune(ranks: ranks, model() + golden.options + ["--metrics", metrics])
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(differences(try MetricsLine.read(metrics), golden.expected) == [])
    }
  }
}
