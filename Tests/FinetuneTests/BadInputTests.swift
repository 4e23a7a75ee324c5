import System
import TestSupport
import Testing

import struct System.ExitStatus  // Testing has one too.

/// A way to do it wrong.
struct BadInput: Sendable, CustomTestStringConvertible {
  var name: String
  var status: ExitStatus
  /// What the message must say, apart from its being one line.
  var words: [String]
  /// Behind the usual options.
  var arguments: [String] = []
  /// Instead of the usual `--model` and `--data`.
  var source: [String]?
  var ranks = 1
  /// Whether the job has begun by then, so that the metrics file is its own.
  var hasBegun = false
  /// Spoils the copies of the small model (`model`) and its rows (`data`).
  var spoil: @Sendable (TemporaryFolder) throws -> Void = { _ in }

  var testDescription: String { ranks == 1 ? name : "\(name), \(ranks) ranks" }

  func on(_ ranks: Int) -> BadInput {
    var result = self
    result.ranks = ranks
    return result
  }
}

extension BadInput {
  private static func edit(_ file: String, _ change: @escaping @Sendable (inout [UInt8]) -> Void)
    -> @Sendable (TemporaryFolder) throws -> Void
  {
    { folder in
      var bytes = try readBytes("\(folder.path)/\(file)")
      change(&bytes)
      try folder.write(bytes, file)
    }
  }

  private static func replace(_ file: String, _ old: String, _ new: String)
    -> @Sendable (TemporaryFolder) throws -> Void
  {
    edit(file) { bytes in
      guard let range = bytes.firstRange(of: Array(old.utf8)) else { preconditionFailure("\(old) is not in \(file)") }
      bytes.replaceSubrange(range, with: Array(new.utf8))
    }
  }

  private static func remove(_ file: String) -> @Sendable (TemporaryFolder) throws -> Void {
    { folder in try TemporaryFolder.removeFile("\(folder.path)/\(file)") }
  }

  private static func weights(_ header: String, data: Int = 16) -> @Sendable (TemporaryFolder) throws -> Void {
    { folder in
      let length = (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
      try folder.write(length + Array(header.utf8) + [UInt8](repeating: 0, count: data), "model/model.safetensors")
    }
  }

  static let options: [BadInput] = [
    BadInput(name: "unknown option", status: .usage, words: ["--frobnicate"], arguments: ["--frobnicate"]),
    BadInput(
      name: "a number that is none", status: .usage, words: ["--epochs", "two"], arguments: ["--epochs", "two"]),
    BadInput(
      name: "batch size 0", status: .usage, words: ["--batch-size", "0", "at least 1"],
      arguments: ["--batch-size", "0"]),
    BadInput(
      name: "negative rate", status: .usage, words: ["--learning-rate", "-1"], arguments: ["--learning-rate=-1"]),
    BadInput(
      name: "rate nan", status: .usage, words: ["--learning-rate", "nan"], arguments: ["--learning-rate", "nan"]),
    BadInput(
      name: "rate inf", status: .usage, words: ["--learning-rate", "inf"], arguments: ["--learning-rate", "inf"]),
    BadInput(
      name: "control characters", status: .usage, words: ["--epochs", "\\u{1b}[2Jx\\u{a}y"],
      arguments: ["--epochs", "\u{1B}[2Jx\ny"]),
    BadInput(name: "dropout 1", status: .usage, words: ["--dropout", "1"], arguments: ["--dropout", "1"]),
    BadInput(
      name: "batch size beyond all numbers", status: .usage, words: ["batch"],
      arguments: ["--batch-size", "9223372036854775807"], ranks: 2),
    BadInput(
      name: "unknown task", status: .usage, words: ["unknown task 'squad'", "mrpc"], arguments: ["--task", "squad"]),
    BadInput(name: "data without model", status: .usage, words: ["--data", "--model"], source: ["--data", "data"]),
    BadInput(name: "model without data", status: .usage, words: ["--model", "--data"], source: ["--model", "model"]),
    BadInput(
      name: "random without model", status: .usage, words: ["--init", "--model"], source: ["--init", "random"]),
    BadInput(
      name: "a batch that cannot be split", status: .usage, words: ["7", "2"],
      arguments: ["--batch-size", "7", "--split-batches"], ranks: 2),
    BadInput(
      name: "warm-up longer than the run", status: .usage, words: ["--warmup-steps", "99"],
      arguments: ["--warmup-steps", "99", "--max-steps", "9"]),
    BadInput(
      name: "longer than the model's positions", status: .usage, words: ["--max-length", "41", "40"],
      arguments: ["--max-length", "41"]),
    BadInput(
      name: "no room for special tokens", status: .usage, words: ["2"], arguments: ["--max-length", "2"]),
    BadInput(
      name: "nothing left to train on", status: .usage, words: ["--uneven", "62", "100"],
      arguments: ["--uneven", "drop", "--batch-size", "100"]),
    BadInput(
      name: "more ranks than rows", status: .usage, words: ["3", "2 rows"], ranks: 3,
      spoil: edit("data/train.tsv") { bytes in
        bytes = Array(bytes.split(separator: UInt8(ascii: "\n")).prefix(3).joined(separator: [UInt8(ascii: "\n")]))
      }),
  ]

  /// Tables of one's own: `rows.csv` is good, `bad` is what a case makes of it.
  private static func own(
    _ name: String, _ status: ExitStatus = .badData, words: [String], _ arguments: [String] = [],
    train: String = "text,label\nthe otter,x\nthe kettle,y\na baker,x\n", validation: String? = nil,
    file: String = "rows.csv", test: String? = nil
  ) -> BadInput {
    BadInput(
      name: name, status: status, words: words,
      arguments: (test == nil ? [] : ["--test-file", "data/test-\(file)"]) + arguments,
      source: ["--model", "model", "--train-file", "data/\(file)", "--validation-file", "data/dev-\(file)"]
    ) { folder in
      try folder.write(train, "data/\(file)")
      try folder.write(validation ?? train, "data/dev-\(file)")
      if let test { try folder.write(test, "data/test-\(file)") }
    }
  }

  static let tables: [BadInput] = [
    own(
      "an unknown column", words: ["data/rows.csv:1:1", "\"body\"", "\"text\", \"label\""], ["--text-column", "body"]),
    own("an unknown label column", words: ["data/rows.csv:1:1", "\"y\""], ["--label-column", "y"]),
    own(
      "a label outside the given ones", words: ["data/rows.csv:3:12", "\"y\"", "x or z"], ["--label-names", "x,z"]),
    own(
      "a validation label of no class", words: ["data/dev-rows.csv:2:3", "\"q\"", "x or y"],
      validation: "text,label\na,q\n"),
    own("a row with too few cells", words: ["data/rows.csv:3:2", "1", "2"], train: "text,label\na,x\nb\n"),
    own("an open quote", words: ["data/rows.csv:3:1", "open quote"], train: "text,label\na,x\n\"b,y\n"),
    own(
      "a broken line", words: ["data/rows.jsonl:2:"], train: "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \n",
      file: "rows.jsonl"),
    own(
      "a missing key", words: ["data/rows.jsonl:2:1", "no key \"label\""],
      train: "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\"}\n", file: "rows.jsonl"),
    own(
      "mixed types of labels", words: ["data/rows.jsonl:2:24", "a whole number", "text", "data/rows.jsonl:1:24"],
      train: "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": 1}\n", file: "rows.jsonl"),
    own("an empty split", words: ["data/dev-rows.csv", "no rows"], validation: "text,label\n"),
    own(
      "more labels than the head has", words: ["model.safetensors", "[2, 32]", "[3, 32]", "--ignore-mismatched-sizes"],
      train: "text,label\na,x\nb,y\nc,z\n"),
    own(
      "a metric that the task cannot have", .usage, words: ["pearson", "accuracy, f1"], ["--eval-metrics", "pearson"]),
    own("a format that is none", .usage, words: ["--train-file", "rows.txt", ".csv"], file: "rows.txt"),
    own("GLUE's data beside one's own", .usage, words: ["--data", "--train-file"], ["--data", "data"]),
    own("a task beside one's own", .usage, words: ["--task", "--train-file"], ["--task", "sst2"]),
    own("two characters between classes", .usage, words: ["--label-separator", "||"], ["--label-separator", "||"]),
    own("test rows without labels", .usage, words: ["--test-file", "--predictions"], test: "text\na\n"),
    own(
      "test rows of which some have labels", words: ["data/test-rows.csv", "row 2 has no label"],
      test: "text,label\na,x\nb,-1\n"),
    own(
      "warm-up of constant", .usage, words: ["--warmup-steps", "constant_with_warmup"],
      [
        "--lr-scheduler-type", "constant", "--warmup-steps", "1",
      ]),
    BadInput(
      name: "training rows alone", status: .usage, words: ["--train-file", "--validation-file"],
      source: ["--model", "model", "--train-file", "data/train.tsv"]),
    BadInput(
      name: "columns without one's own rows", status: .usage, words: ["--label-column", "--train-file"],
      arguments: ["--label-column", "x"]),
    BadInput(
      name: "a task without rows", status: .usage, words: ["--task", "--data"],
      source: ["--model_name_or_path", "model", "--task_name", "mrpc"]),
    BadInput(
      name: "a task that cannot be trained", status: .usage, words: ["ax", "train", "mnli"],
      arguments: ["--task", "ax"]),
    BadInput(
      name: "the name of a model", status: .missingInput, words: ["google-bert/bert-base-cased", "hub"],
      source: ["--model_name_or_path", "google-bert/bert-base-cased", "--task_name", "mrpc", "--data", "data"]),
  ]

  /// Options of run_glue_no_trainer.py that are refused by name, with the reason.
  static let refused: [BadInput] = [
    (["--pad_to_max_length"], "packed"), (["--use-slow-tokenizer"], "one tokenizer"),
    (["--with_tracking"], "--metrics"), (["--push_to_hub"], "uploaded"),
    (["--hub_model_id", "x"], "uploaded"), (["--hub_token", "secret"], "command line"),
    (["--trust_remote_code"], "never run"),
  ].map { arguments, reason in
    let name = arguments[0].split(separator: "=")[0]
    return BadInput(
      name: "\(name), which is refused", status: .usage, words: [String(name), reason], arguments: arguments)
  }

  /// Numbers that would overflow, or take all memory, somewhere down the way.
  static let extremes: [BadInput] = [
    "--epochs", "--max-steps", "--batch-size", "--eval-batch-size", "--gradient-accumulation-steps", "--warmup-steps",
    "--max-length",
  ].flatMap { option in
    ["9223372036854775807", "4611686018427387904", "4294967295", "-9223372036854775808"].map { value in
      BadInput(
        name: "\(option) \(value)", status: .usage, words: [option, value, "expected at "],
        arguments: ["\(option)=\(value)"])
    }
  }

  static let folders: [BadInput] = [
    BadInput(
      name: "no model folder", status: .missingInput, words: ["none/model"],
      source: ["--model", "none/model", "--data", "\(Golden.folder)/mrpc"]),
    BadInput(
      name: "no data folder", status: .missingInput, words: ["none/data"],
      source: ["--model", "\(Golden.folder)/tiny-bert", "--data", "none/data"]),
    BadInput(
      name: "no config.json", status: .missingInput, words: ["model/config.json"], spoil: remove("model/config.json")),
    BadInput(name: "no vocab.txt", status: .missingInput, words: ["model/vocab.txt"], spoil: remove("model/vocab.txt")),
    BadInput(
      name: "no weights", status: .missingInput, words: ["model.safetensors"], spoil: remove("model/model.safetensors")),
    BadInput(name: "no train.tsv", status: .missingInput, words: ["data/train.tsv"], spoil: remove("data/train.tsv")),
    BadInput(name: "no dev.tsv", status: .missingInput, words: ["data/dev.tsv"], spoil: remove("data/dev.tsv")),
    BadInput(
      name: "output below a file", status: .cannotCreate, words: ["file"], arguments: ["--output-dir", "file/below"],
      spoil: { try $0.write("x", "file") }),
    BadInput(
      name: "output is a file", status: .cannotCreate, words: ["file", "is a file"],
      arguments: ["--output-dir", "file"],
      spoil: { try $0.write("x", "file") }),
    BadInput(
      name: "output is the model", status: .usage, words: ["--output-dir", "--model"],
      arguments: ["--output-dir", "model/../model"]),
    BadInput(
      name: "metrics into a folder", status: .cannotCreate, words: ["data"], arguments: ["--metrics", "data"]),
  ]

  static let files: [BadInput] = [
    BadInput(
      name: "another model type", status: .configuration, words: ["model/config.json", "gpt2", "bert"],
      spoil: replace("model/config.json", "\"model_type\": \"bert\"", "\"model_type\": \"gpt2\"")),
    BadInput(
      name: "heads that do not divide", status: .configuration, words: ["num_attention_heads", "5", "32"],
      spoil: replace("model/config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5")),
    BadInput(
      name: "no JSON", status: .configuration, words: ["model/config.json"],
      spoil: edit("model/config.json") { $0.removeLast(9) }),
    BadInput(
      name: "wrong shape", status: .badData,
      words: ["model/model.safetensors", "intermediate.dense.weight", "[64, 32]", "[65, 32]"],
      spoil: replace("model/config.json", "\"intermediate_size\": 64", "\"intermediate_size\": 65")),
    BadInput(
      name: "weights for three classes", status: .badData, words: ["classifier", "[3, 20]", "[2, 20]"],
      source: ["--model", "\(Golden.folder)/three-labels", "--data", "\(Golden.folder)/mrpc"]),
    BadInput(
      name: "truncated weights", status: .badData, words: ["model/model.safetensors"],
      spoil: edit("model/model.safetensors") { $0.removeLast(100) }),
    BadInput(
      name: "empty weights", status: .badData, words: ["model/model.safetensors"],
      spoil: edit("model/model.safetensors") { $0 = [] }),
    BadInput(
      name: "header too long", status: .badData, words: ["model/model.safetensors"],
      spoil: edit("model/model.safetensors") { $0.replaceSubrange(0..<8, with: [UInt8](repeating: 0xff, count: 8)) }),
    BadInput(
      name: "offsets that overlap", status: .badData, words: ["model/model.safetensors", "b"],
      spoil: weights(
        #"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#
      )),
    BadInput(
      name: "offsets outside", status: .badData, words: ["model/model.safetensors"],
      spoil: weights(#"{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}}"#)),
    BadInput(
      name: "offsets that do not match the shape", status: .badData, words: ["model/model.safetensors", "a"],
      spoil: weights(#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}}"#)),
    BadInput(
      name: "a weight that is NaN", status: .badData, words: ["nan", "["],
      spoil: edit("model/model.safetensors") { bytes in
        bytes.replaceSubrange(bytes.count - 4..<bytes.count, with: [0, 0, 0xc0, 0x7f])
      }),
    BadInput(
      name: "one row with four columns", status: .badData, words: ["data/train.tsv:3:", "4", "5"],
      spoil: edit("data/train.tsv") { bytes in
        let lines = bytes.split(separator: UInt8(ascii: "\n"))
        let short = lines.dropFirst(2).prefix(1).map { line in
          line.prefix(upTo: line.lastIndex(of: UInt8(ascii: "\t")) ?? line.endIndex)
        }
        bytes = Array((lines.prefix(2) + short + lines.dropFirst(3)).joined(separator: [UInt8(ascii: "\n")]))
      }),
    BadInput(
      name: "a label outside 0 and 1", status: .badData, words: ["data/train.tsv:2:1", "7", "0 or 1"],
      spoil: replace("data/train.tsv", "\n0\t1000", "\n7\t1000")),
    BadInput(
      name: "bytes that are not UTF-8", status: .badData, words: ["data/dev.tsv:"],
      spoil: edit("data/dev.tsv") { $0.insert(0xff, at: $0.count - 5) }),
    BadInput(
      name: "an empty table", status: .badData, words: ["data/train.tsv"], spoil: edit("data/train.tsv") { $0 = [] }),
    BadInput(
      name: "a loss that becomes NaN", status: .badData, words: ["NaN", "step 2", "rank "],
      arguments: ["--learning-rate", "1e38", "--no-shuffle"], hasBegun: true),
  ]

  static let vocabularies = ["[UNK]", "[CLS]", "[SEP]"].map { token in
    BadInput(
      name: "a vocabulary without \(token)", status: .badData, words: ["model/vocab.txt", token],
      spoil: replace("model/vocab.txt", token, "gone"))
  }

  static var all: [BadInput] { options + tables + refused + extremes + folders + files + vocabularies }

  /// Some of each kind, on two ranks.
  static var onTwoRanks: [BadInput] {
    let names = [
      "unknown option", "batch size 0", "no model folder", "output below a file", "another model type", "wrong shape",
      "truncated weights", "a label outside 0 and 1", "an open quote", "--with_tracking, which is refused",
      "a vocabulary without [CLS]", "a loss that becomes NaN",
    ]
    return all.filter { names.contains($0.name) && $0.ranks == 1 }.map { $0.on(2) }
  }
}

extension Programs {
  /// One line, the right status, within 5 s, no rank left, nothing overwritten.
  struct BadInputs {
    @Test("bad input is told in one line and does no harm", arguments: BadInput.all + BadInput.onTwoRanks)
    func badInput(input: BadInput) throws {
      let folder = try TemporaryFolder()
      _ = try folder.copy("\(Golden.folder)/tiny-bert", as: "model")
      _ = try folder.copy("\(Golden.folder)/mrpc", as: "data")
      let earlier = Array("{\"kind\":\"step\"}\n".utf8)
      try folder.write(earlier, "metrics")
      try input.spoil(folder)

      func absolute(_ word: String) -> String {
        let isOurs = ["model", "data", "file", "none"].contains { word == $0 || word.hasPrefix("\($0)/") }
        return isOurs ? "\(folder.path)/\(word)" : word
      }
      let source = input.source ?? ["--model", "model", "--data", "data"]
      var arguments = (source + input.arguments).map(absolute)
      if !arguments.contains("--output-dir") { arguments += ["--output-dir", "\(folder.path)/output"] }
      if !arguments.contains("--metrics") { arguments += ["--metrics", "\(folder.path)/metrics"] }
      let outcome = try finetune(ranks: input.ranks, arguments)

      #expect(outcome.status == input.status.rawValue, "\(outcome.output)\(outcome.errors)")
      let messages = outcome.errorLines.filter { $0.hasPrefix("finetune: error: ") }
      #expect(messages.count == 1, "\(outcome.errors)")
      if input.ranks == 1 { #expect(outcome.errorLines.count == 1, "\(outcome.errors)") }
      for word in input.words {
        #expect(messages.first?.contains(word) == true, "\"\(word)\" in \(outcome.errors)")
      }
      if !input.hasBegun { #expect(outcome.output == "") }
      #expect(outcome.seconds < 30, "\(outcome.seconds) s")
      #expect(outcome.left == [], "processes \(outcome.left) are left")
      #expect(TemporaryFolder.entries(folder.path).allSatisfy { ["data", "file", "metrics", "model"].contains($0) })
      if !input.hasBegun { #expect(try readBytes("\(folder.path)/metrics") == earlier) }
    }
  }
}
