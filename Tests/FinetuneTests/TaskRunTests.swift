import FoundationEssentials
import System
import TestSupport
import Testing

extension Programs {
  /// Tasks other than MRPC, through the program.
  struct Tasks {
    static let own = "\(Golden.folder)/tasks/own"

    /// The model and rows of a golden curve.
    private func source(_ name: String) -> [String] {
      let glue = { (task: String, folder: String, model: String) in
        [
          "--model", "\(Golden.folder)/\(model)", "--task", task, "--data", "\(Golden.folder)/tasks/\(folder)",
        ]
      }
      switch name {
      case "sst2": return glue("sst2", "SST-2", "tiny-bert")
      case "cola": return glue("cola", "CoLA", "tiny-bert")
      case "stsb": return glue("stsb", "STS-B", "tiny-bert-1")
      default:
        return [
          "--model", "\(Golden.folder)/tiny-bert-3", "--train-file", "\(Self.own)/\(name)-train.jsonl",
          "--validation-file", "\(Self.own)/\(name)-dev.jsonl",
        ]
      }
    }

    @Test(
      "60 steps are torch's on 1, 2 and 4 ranks: losses, rates, norms, then every figure",
      arguments: ["sst2", "cola", "stsb", "three", "several"], [1, 2, 4])
    func curve(name: String, ranks: Int) throws {
      let golden = try #require(TaskCurve.all()[name])
      let folder = try TemporaryFolder()
      let metrics = "\(folder.path)/metrics"
      let names = golden.figures.keys.sorted()
      let arguments = source(name) + golden.options + ["--metrics", metrics, "--eval-metrics"] + names
      let outcome = try finetune(ranks: ranks, arguments)
      #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
      let lines = try MetricsLine.read(metrics)
      #expect(differences(lines, golden.history.map { ($0.loss, $0.rate, $0.grad_norm) }) == [])
      let last = try Figures.last(metrics)
      #expect(relativeError(last["loss"] ?? .nan, golden.dev_loss) < 1e-5 && last["examples"] == 27)
      for (name, value) in golden.figures {
        let expected = try #require(value)
        // Counts are the same; what is computed from scores follows them.
        let tolerance = ["mse", "pearson", "spearmanr"].contains(name) ? 1e-4 : 1e-12
        #expect(abs((last[name] ?? .nan) - expected) <= tolerance * max(1, abs(expected)), "\(name)")
      }
    }

    @Test("a task's line has its own metrics, and null where one is not defined", arguments: ["sst2", "cola", "stsb"])
    func ownMetrics(name: String) throws {
      let folder = try TemporaryFolder()
      let metrics = "\(folder.path)/metrics"
      let outcome = try finetune(source(name) + ["--max-steps", "1", "--learning-rate", "0", "--metrics", metrics])
      #expect(outcome.status == 0, "\(outcome.errors)")
      let expected = [
        "sst2": ["accuracy"], "cola": ["accuracy", "matthews_correlation"], "stsb": ["mse", "pearson", "spearmanr"],
      ][name]
      let common: Set = ["kind", "epoch", "step", "loss", "examples"]
      #expect(try Figures.keys(metrics).subtracting(common).sorted() == expected)
      #expect(outcome.output.contains("for comparison, always guessing the"))
      #expect(outcome.output.contains(name == "stsb" ? "Pearson correlation not defined" : "accuracy "))
    }

    @Test("MNLI's two validation sets are two figures of one line")
    func mnli() throws {
      let folder = try TemporaryFolder()
      try makeDirectory("\(folder.path)/data")
      let header = "index\tsentence1\tsentence2\tgold_label\n"
      let rows = ["entailment", "neutral", "contradiction", "neutral"].map { "0\tthe otter\tthe kettle\t\($0)\n" }
      try folder.write(header + rows.joined(), "data/train.tsv")
      try folder.write(header + rows.joined(), "data/dev_matched.tsv")
      try folder.write(header + rows[0] + rows[1] + rows[3] + rows[1] + rows[1], "data/dev_mismatched.tsv")
      let metrics = "\(folder.path)/metrics"
      let outcome = try finetune(
        ranks: 3,
        [
          "--model", "\(Golden.folder)/tiny-bert-3", "--task", "mnli", "--data", "\(folder.path)/data", "--max-steps",
          "1", "--batch-size", "1", "--metrics", metrics,
        ])
      #expect(outcome.status == 0, "\(outcome.errors)")
      let last = try Figures.last(metrics)
      // Every row has the same sentences, so every answer is the same class.
      let answers: [(Double, Double)] = [(0.25, 0.2), (0.5, 0.8), (0.25, 0)]
      #expect(answers.contains { $0 == (last["accuracy"] ?? .nan, last["accuracy_mm"] ?? .nan) }, "\(last)")
      #expect(last["examples"] == 4 && last["loss_mm"]?.isFinite == true)
      #expect(outcome.output.contains("5 mismatched validation rows"))
    }

    @Test("classes are counted at the start, named in the saved folder, and found again in it")
    func saving() throws {
      let folder = try TemporaryFolder()
      let saved = "\(folder.path)/saved"
      for (name, problem) in [("three", "single_label_classification"), ("several", "multi_label_classification")] {
        let outcome = try finetune(
          source(name) + ["--max-steps", "1", "--output-dir", saved, "--metrics", "\(folder.path)/\(name)"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let start = try #require(outcome.outputLines.first { $0.hasPrefix("classes") })
        #expect(start.contains("cross ") && start.contains("even ") && start.contains("glad "), "\(start)")
        // swift-format-ignore: AlwaysUseLowerCamelCase
        struct Configuration: Decodable {
          var id2label: [String: String]
          var label2id: [String: Int]
          var problem_type: String
        }
        let configuration = try Golden.json(path: "\(saved)/config.json", as: Configuration.self)
        #expect(configuration.id2label == ["0": "cross", "1": "even", "2": "glad"])
        #expect(configuration.label2id == ["cross": 0, "even": 1, "glad": 2] && configuration.problem_type == problem)
        var again = source(name)
        again[1] = saved
        let second = try finetune(
          again + ["--max-steps", "1", "--learning-rate", "0", "--metrics", "\(folder.path)/2"])
        #expect(second.status == 0, "\(second.errors)")
        let (first, loaded) = (try Figures.last("\(folder.path)/\(name)"), try Figures.last("\(folder.path)/2"))
        #expect(relativeError(loaded["loss"] ?? .nan, first["loss"] ?? .nan) < 1e-6)
      }
    }

    @Test("a saved head keeps its classes' numbers in a later run, whatever order sorting would give")
    func orderOfClasses() throws {
      let folder = try TemporaryFolder()
      let saved = "\(folder.path)/saved"
      let given = source("three") + ["--max-steps", "1", "--label-names", "glad,cross,even"]
      let outcome = try finetune(given + ["--output-dir", saved, "--metrics", "\(folder.path)/1"])
      #expect(outcome.status == 0, "\(outcome.errors)")
      var again = source("three")
      again[1] = saved
      let second = try finetune(again + ["--max-steps", "1", "--learning-rate", "0", "--metrics", "\(folder.path)/2"])
      #expect(second.status == 0, "\(second.errors)")
      let (first, loaded) = (try Figures.last("\(folder.path)/1"), try Figures.last("\(folder.path)/2"))
      #expect(loaded["accuracy"] == first["accuracy"])
      #expect(relativeError(loaded["loss"] ?? .nan, first["loss"] ?? .nan) < 1e-6)
    }

    @Test("test rows are evaluated at the end, and every prediction is written in row order", arguments: [1, 3])
    func testRows(ranks: Int) throws {
      let folder = try TemporaryFolder()
      let (metrics, predictions) = ("\(folder.path)/metrics", "\(folder.path)/predictions")
      let options = ["--max-steps", "2", "--batch-size", "3", "--metrics", metrics, "--predictions", predictions]
      let labelled = try finetune(
        ranks: ranks, source("three") + options + ["--test-file", "\(Self.own)/three-dev.jsonl"])
      #expect(labelled.status == 0 && labelled.output.contains("test: accuracy "), "\(labelled.errors)")
      let lines = try MetricsLine.read(metrics)
      let (evaluated, tested) = (try #require(lines.dropLast().last), try #require(lines.last))
      #expect(evaluated.kind == "eval" && tested.kind == "test")
      #expect(evaluated.accuracy == tested.accuracy && evaluated.loss == tested.loss, "the same rows")
      let table = String(decoding: try readBytes(predictions), as: UTF8.self)
      let rows = table.split(separator: "\n")
      #expect(rows.count == 28 && rows.first == "index\tprediction" && rows.last?.hasPrefix("26\t") == true)
      #expect(rows.dropFirst().allSatisfy { ["cross", "even", "glad"].contains($0.split(separator: "\t").last ?? "") })

      let bare = String(decoding: try readBytes("\(Self.own)/three-dev.jsonl"), as: UTF8.self)
        .replacing(try Regex(#""label": "[a-z]+", "#), with: "")
      let file = try folder.write(Array(bare.utf8), "bare.jsonl")
      let unlabelled = try finetune(ranks: ranks, source("three") + options + ["--test-file", file])
      #expect(unlabelled.status == 0 && !unlabelled.output.contains("test: "), "\(unlabelled.errors)")
      #expect(String(decoding: try readBytes(predictions), as: UTF8.self) == table, "labels do not change predictions")
    }

    @Test("the options of run_glue_no_trainer.py do what our own do")
    func scriptsOptions() throws {
      let folder = try TemporaryFolder()
      func lines(_ arguments: [String], _ name: String) throws -> [MetricsLine] {
        let outcome = try finetune(arguments + ["--metrics", "\(folder.path)/\(name)"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        return try MetricsLine.read("\(folder.path)/\(name)")
      }
      let (model, data) = ("\(Golden.folder)/tiny-bert", "\(Golden.folder)/tasks/SST-2")
      let ours = try lines(
        [
          "--model", model, "--task", "sst2", "--data", data, "--epochs", "2", "--max-length", "12", "--batch-size",
          "4", "--eval-batch-size", "3", "--learning-rate", "1e-3", "--weight-decay", "0.1", "--warmup-steps", "2",
          "--gradient-accumulation-steps", "2", "--seed", "7", "--output-dir", "\(folder.path)/a",
        ], "ours")
      let theirs = try lines(
        [
          "--model_name_or_path", model, "--task_name", "sst2", "--data", data, "--num_train_epochs", "2",
          "--max_length", "12", "--per_device_train_batch_size", "4", "--per_device_eval_batch_size", "3",
          "--learning_rate", "1e-3", "--weight_decay", "0.1", "--lr_scheduler_type", "linear", "--num_warmup_steps",
          "2",
          "--gradient_accumulation_steps", "2", "--seed", "7", "--output_dir", "\(folder.path)/b",
          "--ignore_mismatched_sizes",
        ], "theirs")
      #expect(ours == theirs && ours.count == 18)
      let own = [
        "--model_name_or_path", "\(Golden.folder)/tiny-bert-3", "--train_file", "\(Self.own)/three-train.jsonl",
        "--validation_file", "\(Self.own)/three-dev.jsonl", "--max_train_steps", "3",
      ]
      #expect(try lines(own, "own").count == 4)
    }

    @Test("MRPC's metrics are those of before there were other tasks: the same keys, counts, rates, in the same form")
    func metricsOfBefore() throws {
      let folder = try TemporaryFolder()
      let metrics = "\(folder.path)/metrics"
      let outcome = try finetune(
        tinyModel + ["--epochs", "2", "--learning-rate", "1e-3", "--batch-size", "2", "--metrics", metrics])
      #expect(outcome.status == 0, "\(outcome.errors)")
      func lines(_ path: String) throws -> [String] {
        String(decoding: try readBytes(path), as: UTF8.self).split(separator: "\n").map(String.init)
      }
      let before = try lines("\(Golden.folder)/tasks/mrpc-metrics.jsonl")
      let now = try lines(metrics)
      try #require(now.count == before.count)
      // A loss and a norm depend on the CPU's kernels in their last digits; all else is the same text.
      let number = try Regex(#""(?:loss|grad_norm)":[-+0-9.e]+"#)
      for (line, old) in zip(now, before) {
        #expect(line.replacing(number, with: "x") == old.replacing(number, with: "x"))
      }
      let (found, expected) = (
        try MetricsLine.read(metrics), try MetricsLine.read("\(Golden.folder)/tasks/mrpc-metrics.jsonl")
      )
      for (line, old) in zip(found, expected) {
        #expect(relativeError(line.loss, old.loss) < 1e-5, "step \(line.step)")
        #expect(relativeError(line.grad_norm ?? 1, old.grad_norm ?? 1) < 1e-4, "step \(line.step)")
      }
    }
  }
}

/// The numbers of an evaluation line by name; those that are null are left out.
private enum Figures {
  private enum Value: Decodable {
    case number(Double)
    case other

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      self = (try? container.decode(Double.self)).map { .number($0) } ?? .other
    }
  }

  private static func line(_ path: String) throws -> [String: Value] {
    let lines = try readBytes(path).split(separator: UInt8(ascii: "\n"))
    return try JSONDecoder().decode([String: Value].self, from: Data(try #require(lines.last)))
  }

  static func last(_ path: String) throws -> [String: Double] {
    try line(path).compactMapValues { if case .number(let value) = $0 { value } else { nil } }
  }

  static func keys(_ path: String) throws -> Set<String> { Set(try line(path).keys) }
}
