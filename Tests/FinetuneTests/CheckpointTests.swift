import Checkpoints
import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// Runs that save where they stand, end anyhow, and go on.
  struct Checkpointed {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Windows of two batches, of which the last of an epoch is short; dropout, another order each epoch, clipping.
    private static let options =
      tinyModel + [
        "--batch-size", "4", "--split-batches", "--learning-rate", "1e-3", "--dropout", "0.2", "--epochs", "3",
        "--gradient-accumulation-steps", "2", "--max-grad-norm", "1",
      ]

    private func path(_ name: String) -> String { "\(folder.path)/\(name)" }

    private func arguments(_ name: String, _ more: [String] = []) -> [String] {
      Self.options + ["--output-dir", path(name), "--metrics", path("\(name).jsonl")] + more
    }

    @discardableResult
    private func run(_ name: String, ranks: Int, _ more: [String]) throws -> Program.Outcome {
      let outcome = try finetune(ranks: ranks, arguments(name, more))
      #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
      return outcome
    }

    /// A run that is left undisturbed, and a copy of it as it was at a step.
    private func cut(_ name: String, ranks: Int, at step: Int) throws {
      try run("whole", ranks: ranks, ["--checkpointing-steps", "1"])
      let checkpoint = CheckpointStore.name(step: step)
      try makeDirectory("\(path(name))/checkpoints")
      _ = try folder.copy(path("whole/checkpoints/\(checkpoint)"), as: "\(name)/checkpoints/\(checkpoint)")
      try folder.write(readBytes(path("whole.jsonl")), "\(name).jsonl")
    }

    private func weights(_ name: String) throws -> [UInt8] { try readBytes("\(path(name))/model.safetensors") }

    @Test(
      "a resumed run has the bits of the uninterrupted one, its metrics no step twice and none missing",
      arguments: [(1, 1), (1, 8), (2, 3), (2, 16)])
    func sameBits(ranks: Int, step: Int) throws {
      try cut("part", ranks: ranks, at: step)
      let outcome = try run("part", ranks: ranks, ["--checkpointing-steps", "5", "--resume-from-checkpoint", "latest"])
      #expect(outcome.output.contains("continues after step \(step) of 24"))
      #expect(try weights("part") == weights("whole"))
      #expect(try readBytes(path("part.jsonl")) == readBytes(path("whole.jsonl")))
      #expect(
        TemporaryFolder.entries(path("part/checkpoints"))
          == Set([step, 5, 10, 15, 20].filter { $0 >= step }).sorted().map(CheckpointStore.name))
    }

    @Test("on another number of ranks a resumed run follows the same curve within 1e-5", arguments: [(1, 4), (2, 1)])
    func otherRanks(first: Int, then: Int) throws {
      try cut("part", ranks: first, at: 9)
      let outcome = try run("part", ranks: then, ["--resume-from-checkpoint", "latest"])
      #expect(outcome.output.contains("saved with \(counted(first, "rank")), continues with \(then)"))
      let whole = try MetricsLine.read(path("whole.jsonl")).filter { $0.kind == "step" }
      let expected = whole.map { ($0.loss, $0.learning_rate ?? .nan, $0.grad_norm ?? .nan) }
      #expect(try differences(MetricsLine.read(path("part.jsonl")), expected) == [])
    }

    @Test("each checkpoint is a model that loads, with the scores that the run had there")
    func loads() throws {
      try run("whole", ranks: 2, ["--checkpointing-steps", "epoch", "--checkpoint-total-limit", "2"])
      #expect(TemporaryFolder.entries(path("whole/checkpoints")) == ["step-000016", "step-000024"])
      let checkpoint = path("whole/checkpoints/step-000016")
      let forward = try ForwardOutput.of(["--model", checkpoint, "--data", "\(Golden.folder)/mrpc", "--rows", "30"])
      let told = try MetricsLine.read(path("whole.jsonl")).first { $0.kind == "eval" && $0.step == 16 }
      #expect(relativeError(forward.loss, try #require(told).loss) < 1e-5)
      let manifest = try Checkpoint(checkpoint).manifest
      #expect(manifest.step == 16 && manifest.epoch == 2 && manifest.rows == 0 && manifest.ranks == 2)
    }

    @Test("kill -9 at any instant: the run goes on to the same bits, and nothing is left", arguments: 0..<25)
    func kills(number: Int) throws {
      let ranks = 1 + number % 2
      try run("whole", ranks: ranks, [])
      let expected = try weights("whole")
      var generator = SplitMix64(state: UInt64(number))
      let more = ["--checkpointing-steps", "2", "--checkpoint-total-limit", "2", "--resume-from-checkpoint", "latest"]
      for _ in 0..<3 {
        // Killed with its ranks, mpirun leaves its segments and session folder: they go with the test's own folder.
        let mpi = try TemporaryFolder()
        let places = ["env", "TMPDIR=\(mpi.path)", "OMPI_MCA_btl_vader_backing_directory=\(mpi.path)"]
        let program = try Program(places + Program.command("finetune", ranks: ranks, arguments("part", more)))
        usleep(UInt32(100_000 + generator.next() % 900_000))
        for process in program.marked { kill(process.id, SIGKILL) }
        #expect(program.wait(seconds: 30).left == [])
      }
      try run("part", ranks: ranks, more)
      #expect(try weights("part") == expected)
      #expect(try readBytes(path("part.jsonl")) == readBytes(path("whole.jsonl")))
      let left = TemporaryFolder.entries(path("part/checkpoints"))
      #expect(left.allSatisfy { $0.hasPrefix("step-") }, "\(left)")
      #expect(TemporaryFolder.entries(folder.path) == ["part", "part.jsonl", "whole", "whole.jsonl"])
    }

    @Test("a run that is told to stop finishes its step, saves a checkpoint, says where, and goes on to the same bits")
    func stops() throws {
      let long = ["--epochs", "600"]
      try run("whole", ranks: 2, long)
      let launcher = [try Program.built("launch"), "--num_processes", "2", "finetune"]
      let program = try Program(launcher + arguments("part", long))
      while !program.outputSoFar.contains("step ") {
        try #require(program.seconds < 30, "no step was said")
        usleep(5000)
      }
      // Until an agent has told the launcher that its rank looks for a stop, a signal just ends the rank.
      usleep(1_500_000)
      kill(program.process, SIGTERM)
      let outcome = program.wait(seconds: 30)
      #expect(outcome.status == 128 + SIGTERM && outcome.left == [], "\(outcome.errors)")
      #expect(outcome.output.contains("--resume-from-checkpoint latest continues from there"), "\(outcome.output)")
      #expect(TemporaryFolder.entries(path("part/checkpoints")).count == 1)
      try run("part", ranks: 2, long + ["--resume-from-checkpoint", "latest"])
      #expect(try weights("part") == weights("whole"))
      #expect(try readBytes(path("part.jsonl")) == readBytes(path("whole.jsonl")))
    }

    @Test("a job that the launcher starts again continues from its newest checkpoint, to the same bits")
    func restarts() throws {
      let long = ["--epochs", "300"]
      try run("whole", ranks: 2, long)
      let launcher = [try Program.built("launch"), "--num_processes", "2", "--max_restarts", "1", "finetune"]
      let program = try Program(launcher + arguments("part", long + ["--checkpointing-steps", "50"]))
      while !TemporaryFolder.entries(path("part/checkpoints")).contains(CheckpointStore.name(step: 100)) {
        try #require(program.seconds < 60, "no checkpoint was saved")
        usleep(5000)
      }
      let victim = try #require(program.marked.filter { $0.rank == 1 }.map(\.id).max(), "rank 1 is there")
      kill(victim, SIGKILL)
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
      #expect(outcome.errors.contains("restart 1 of 1"))
      #expect(outcome.output.contains("continues after step"), "\(outcome.output)")
      #expect(try weights("part") == weights("whole"))
      #expect(try readBytes(path("part.jsonl")) == readBytes(path("whole.jsonl")))
    }

    @Test(
      "a checkpoint of another run is refused by the option, with both values",
      arguments: [
        (["--seed", "7"], "was saved with --seed 42, this run has 7 (give the same --seed, or"),
        (["--epochs", "4"], "--max-steps 24 (steps in all), this run has 32"),
        (["--dropout", "0.1"], "--dropout 0.2, 0.2, this run has 0.1, 0.1"),
        (["--batch-size", "6"], "--batch-size 4 (rows of all ranks together), this run has 6"),
        (["--learning-rate", "2e-3"], "was saved with --learning-rate 0.001, this run has 0.002"),
        (["--no-shuffle"], "was saved without --no-shuffle, this run has it (leave --no-shuffle out, or"),
        (["--reduction", "invariant"], "was saved with --reduction fast, this run has invariant (give the same"),
      ])
    func otherOptions(change: [String], difference: String) throws {
      try run("whole", ranks: 1, ["--checkpointing-steps", "20"])
      let before = try readBytes(path("whole.jsonl"))
      let outcome = try finetune(arguments("whole", ["--resume-from-checkpoint", "latest"] + change))
      #expect(outcome.status == 65 && outcome.errorLines.count == 1, "\(outcome.errors)")
      for word in [difference, "step-000020"] {
        #expect(outcome.errors.contains(word), "\(word) in \(outcome.errors)")
      }
      #expect(try readBytes(path("whole.jsonl")) == before, "nothing is overwritten")
    }

    @Test("other data, and another start model, are refused by name")
    func otherData() throws {
      try run("whole", ranks: 1, ["--checkpointing-steps", "20"])
      let data = try folder.copy("\(Golden.folder)/mrpc", as: "data")
      let rows = try readBytes("\(data)/train.tsv").split(separator: 0x0A)
      try writeAtomically(rows.dropLast().flatMap { $0 + [0x0A] }, to: "\(data)/train.tsv")
      let fewer = try finetune(
        arguments("whole", ["--resume-from-checkpoint", "latest", "--data", data, "--max-steps", "24"]))
      #expect(fewer.status == 65 && fewer.errors.contains("other training rows than this run"), "\(fewer.errors)")
      #expect(fewer.errors.contains("--data, --task, --train-file"), "\(fewer.errors)")
      let fresh = try finetune(arguments("whole", ["--resume-from-checkpoint", "latest", "--init", "random"]))
      #expect(fresh.status == 65 && fresh.errors.contains("other start weights"), "\(fresh.errors)")
      #expect(fresh.errors.contains("--model and --init decide them"), "\(fresh.errors)")
    }

    @Test("what is no checkpoint, nowhere, beside another run's or damaged")
    func badFolders() throws {
      let none = try run("whole", ranks: 1, ["--checkpointing-steps", "10", "--resume-from-checkpoint", "latest"])
      #expect(none.output.contains("so the run begins at the beginning"))
      let refused: [([String], Int32, String)] = [
        (["--resume-from-checkpoint", path("nowhere")], 66, "there is no such folder"),
        (["--resume-from-checkpoint", folder.path], 66, "is no checkpoint"),
        ([], 73, "holds checkpoints of another run"),
      ]
      for (more, status, words) in refused {
        let outcome = try finetune(arguments("whole", more))
        #expect(outcome.status == status && outcome.errors.contains(words), "\(outcome.errors)")
        #expect(outcome.errorLines.count == 1)
      }
      let newest = path("whole/checkpoints/step-000020")
      var moments = try readBytes("\(newest)/optimizer.safetensors")
      moments[moments.count - 5] ^= 4
      try writeAtomically(moments, to: "\(newest)/optimizer.safetensors")
      let given = try finetune(arguments("whole", ["--resume-from-checkpoint", newest]))
      #expect(given.status == 65 && given.errors.contains("optimizer.safetensors"), "\(given.errors)")
      let latest = try run("whole", ranks: 1, ["--resume-from-checkpoint", "latest"])
      #expect(latest.output.contains("is left out") && latest.output.contains("continues after step 10 of 24"))
    }

    @Test(
      "options that make no sense",
      arguments: [
        ["--checkpointing-steps", "0"], ["--checkpointing-steps", "often"], ["--checkpoint-total-limit", "0"],
      ])
    func options(more: [String]) throws {
      #expect(try finetune(arguments("whole", more)).status == 64)
      let alone = try finetune(Self.options + ["--checkpointing-steps", "5"])
      #expect(alone.status == 64 && alone.errors.contains("needs --output-dir"), "\(alone.errors)")
    }
  }
}
