import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// Runs that go well.
  struct Runs {
    @Test(
      "the goldens' curves and scores through the program, alone, as threads and under mpirun",
      arguments: [
        ("plain", 1), ("plain", 3), ("clip and warm-up", 2), ("accumulation", 4),
        ("weight decay spares biases and norms", 1),
      ])
    func goldenCurve(name: String, ranks: Int) throws {
      let golden = try #require(CurveGolden.all()[name])
      let folder = try TemporaryFolder()
      let metrics = "\(folder.path)/metrics"
      let outcome = try finetune(ranks: ranks, tinyModel + golden.options + ["--metrics", metrics])
      #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
      let lines = try MetricsLine.read(metrics)
      #expect(differences(lines, golden.expected) == [])
      let last = try #require(lines.last)
      #expect(last.kind == "eval" && last.step == golden.totalSteps && last.examples == 30)
      #expect(abs((last.accuracy ?? .nan) - (try #require(golden.accuracy))) < 1e-12)
      #expect(abs((last.f1 ?? .nan) - (try #require(golden.f1))) < 1e-12)
      #expect(relativeError(last.loss, try #require(golden.dev_loss)) < 1e-5)
    }

    @Test("ranks 1, 2, 3 and 4 with the same global batch write the same curve, dropout on")
    func ranks() throws {
      let folder = try TemporaryFolder()
      let options = ["--epochs", "2", "--batch-size", "12", "--split-batches", "--learning-rate", "1e-3"]
      func lines(_ name: String, ranks: Int, variables: [String: String] = [:]) throws -> [MetricsLine] {
        let arguments = tinyModel + options + ["--dropout", "0.2", "--metrics", "\(folder.path)/\(name)"]
        let outcome = try finetune(ranks: ranks, arguments, variables: variables)
        #expect(outcome.status == 0 && outcome.errors == "" && outcome.left == [], "\(outcome.errors)")
        return try MetricsLine.read("\(folder.path)/\(name)")
      }
      let alone = try lines("1", ranks: 1)
      #expect(alone.count == 14 && alone.map(\.kind).filter { $0 == "eval" }.count == 2)
      let expected = alone.filter { $0.kind == "step" }.map {
        ($0.loss, $0.learning_rate ?? .nan, $0.grad_norm ?? .nan)
      }
      var others = try (2...4).map { try lines("\($0)", ranks: $0) }
      others.append(try lines("private", ranks: 2, variables: ["LOCKSTEP_SHARED_MEMORY": "off"]))
      // As if they were on several hosts, beside backward and after it, as processes and as threads.
      for (ranks, hosts) in [(2, "1,1"), (3, "2,1"), (4, "1,1,2")] {
        let spread = ["LOCKSTEP_PRETEND_HOSTS": hosts]
        others.append(try lines("hosts", ranks: ranks, variables: spread))
        others.append(try lines("after", ranks: ranks, variables: spread.merging(["LOCKSTEP_OVERLAP": "off"]) { $1 }))
      }
      let threads = ["LOCKSTEP_IN_PROCESS": "3", "LOCKSTEP_PRETEND_HOSTS": "1,2", "LOCKSTEP_BUCKET_BYTES": "2048"]
      others.append(try lines("hosts of threads", ranks: 1, variables: threads))
      others.append(try lines("threads", ranks: 1, variables: ["LOCKSTEP_IN_PROCESS": "3"]))
      for other in others {
        #expect(differences(other, expected) == [])
        for (line, first) in zip(other, alone) where line.kind == "eval" {
          #expect(line.accuracy == first.accuracy && line.f1 == first.f1 && line.examples == 30)
          #expect(relativeError(line.loss, first.loss) < 1e-5 && line.epoch == first.epoch)
        }
      }
    }

    @Test("a saved model is what was evaluated last, and starts again from there")
    func saving() throws {
      let folder = try TemporaryFolder()
      let saved = "\(folder.path)/new/model"
      let options = ["--epochs", "1", "--learning-rate", "1e-3", "--metrics", "\(folder.path)/metrics"]
      let outcome = try finetune(ranks: 2, tinyModel + options + ["--output-dir", saved])
      #expect(outcome.status == 0 && outcome.output.contains("saved to \(saved)"), "\(outcome.errors)")
      let last = try #require(MetricsLine.read("\(folder.path)/metrics").last)
      let forward = try ForwardOutput.of(["--model", saved, "--data", "\(Golden.folder)/mrpc", "--rows", "30"])
      #expect(relativeError(forward.loss, last.loss) < 1e-5)
      let again = ["--model", saved, "--data", "\(Golden.folder)/mrpc", "--max-steps", "1", "--learning-rate", "0"]
      let second = try finetune(again + ["--metrics", "\(folder.path)/again"])
      #expect(second.status == 0 && !second.output.contains("newly initialised"), "\(second.errors)")
      let same = try #require(MetricsLine.read("\(folder.path)/again").last)
      #expect(relativeError(same.loss, last.loss) < 1e-6 && same.accuracy == last.accuracy)
    }

    @Test("what a checkpoint lacks and what is not used is told; random weights need none")
    func reports() throws {
      let arguments = [
        "--model", "\(Golden.folder)/tiny-bert-old", "--data", "\(Golden.folder)/mrpc", "--max-steps", "1",
      ]
      let outcome = try finetune(arguments)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(outcome.outputLines.contains("newly initialised: classifier.weight, classifier.bias"))
      let unused = outcome.outputLines.first { $0.hasPrefix("not used: ") }
      #expect(unused?.contains("cls.predictions.bias") == true && unused?.contains("embeddings.position_ids") == true)

      let folder = try TemporaryFolder()
      let bare = try folder.copy("\(Golden.folder)/tiny-bert", as: "bare")
      try TemporaryFolder.removeFile("\(bare)/model.safetensors")
      let random = ["--model", bare, "--init", "random", "--data", "\(Golden.folder)/mrpc", "--max-steps", "2"]
      let fresh = try finetune(random)
      #expect(fresh.status == 0 && !fresh.output.contains("newly initialised"), "\(fresh.errors)")
    }

    @Test("a vocabulary without [PAD] trains as one with it, and its texts are numbered as transformers does")
    func vocabularyWithoutPadding() throws {
      let folder = try TemporaryFolder()
      let model = try folder.copy("\(Golden.folder)/tiny-bert", as: "model")
      let text = String(decoding: try readBytes("\(model)/vocab.txt"), as: UTF8.self)
      try #require(text.hasPrefix("[PAD]\n"))
      try writeAtomically(Array("zzz\(text.dropFirst(5))".utf8), to: "\(model)/vocab.txt")
      let tokens = try inspect(["tokens", "--model", model, "--text", "zzz [PAD] x [MASK]"])
      #expect(tokens.output.contains("\"input_ids\":[2,0,135,1,4,3]"), "\(tokens.output)\(tokens.errors)")
      // The rows of the golden data hold neither word, so padding is all that could differ.
      func losses(_ model: String, _ name: String) throws -> [Double] {
        let options = ["--max-steps", "3", "--batch-size", "8", "--metrics", "\(folder.path)/\(name)"]
        let outcome = try finetune(["--model", model, "--data", "\(Golden.folder)/mrpc"] + options)
        #expect(outcome.status == 0, "\(outcome.errors)")
        return try MetricsLine.read("\(folder.path)/\(name)").map(\.loss)
      }
      #expect(try losses(model, "without") == losses("\(Golden.folder)/tiny-bert", "with"))
    }

    @Test("a run of the embedded default that is shorter than its warm-up is a run; the rate is told")
    func shorterThanWarmup() throws {
      let outcome = try finetune(["--max-steps", "2"])
      #expect(outcome.status == 0 && outcome.output.contains("after 2 warm-up steps"), "\(outcome.errors)")
    }

    @Test("the facts are said at the start: rows, steps, ranks and kernels")
    func facts() throws {
      let outcome = try finetune(ranks: 2, tinyModel + ["--epochs", "2", "--batch-size", "3", "--max-grad-norm", "1"])
      #expect(outcome.status == 0, "\(outcome.errors)")
      for fact in [
        "62 training rows, 30 validation rows", "11 an epoch, 6 rows each (3 a rank)", "22 in 2 epochs",
        "23,938 parameters", "fp32", "OpenBLAS", "epoch 2/2: accuracy",
      ] {
        #expect(outcome.output.contains(fact), "\(fact) in \(outcome.output)")
      }
      #expect(!outcome.output.contains("\u{1B}"), "no terminal, no escape sequences")
    }

    @Test("help is help, on any number of ranks", arguments: [1, 2])
    func help(ranks: Int) throws {
      let outcome = try finetune(ranks: ranks, ["--help"])
      #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
      #expect(outcome.outputLines.filter { $0.hasPrefix("USAGE: finetune ") }.count == 1, "\(outcome.output)")
      for option in ["--model", "--gradient-accumulation-steps", "--no-decay-bias-norm", "--metrics"] {
        #expect(outcome.output.contains(option))
      }
    }

    @Test("a rank that is killed takes the others along", arguments: [0, 1, 2])
    func killedRank(rank: Int) throws {
      let arguments = tinyModel + ["--epochs", "1000000"]
      let program = try Program(Program.command("finetune", ranks: 3, arguments))
      while program.seconds < 60, !program.outputSoFar.contains("step ") { usleep(20_000) }
      let victim = try #require(program.marked.first { $0.rank == rank }, "rank \(rank) is not there")
      let begin = program.seconds
      #expect(kill(victim.id, SIGKILL) == 0)
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status != 0 && outcome.seconds - begin < 30)
      #expect(outcome.left == [], "processes \(outcome.left) are left")
    }
  }
}
