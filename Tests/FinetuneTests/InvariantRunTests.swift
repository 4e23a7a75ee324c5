import Checkpoints
import System
import TestSupport
import Testing

extension Programs {
  /// `finetune --reduction invariant`: the same files from any number of ranks.
  struct InvariantRuns {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// 60 steps and more: dropout, windows of two batches, clipping, short last batches, another order each epoch.
    private static let options =
      tinyModel + [
        "--reduction", "invariant", "--batch-size", "8", "--split-batches", "--learning-rate", "1e-3", "--dropout",
        "0.2",
        "--gradient-accumulation-steps", "2", "--max-grad-norm", "1", "--max-steps", "60",
      ]

    private func path(_ name: String) -> String { "\(folder.path)/\(name)" }

    private func arguments(_ name: String, _ more: [String] = []) -> [String] {
      Self.options + ["--output-dir", path(name), "--metrics", path("\(name).jsonl")] + more
    }

    @discardableResult
    private func run(
      _ name: String, ranks: Int, _ more: [String] = [], variables: [String: String] = [:]
    ) throws -> Program.Outcome {
      let outcome = try finetune(ranks: ranks, arguments(name, more), variables: variables, seconds: 120)
      #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
      return outcome
    }

    private func expectSame(_ name: String, as other: String) throws {
      let weights = try readBytes("\(path(name))/model.safetensors")
      #expect(try weights == readBytes("\(path(other))/model.safetensors"), "\(name): weights")
      let metrics = try readBytes(path("\(name).jsonl"))
      #expect(try metrics == readBytes(path("\(other).jsonl")), "\(name): metrics")
    }

    @Test("weights and metrics files have the same bytes on 1, 2, 3 and 4 ranks of MPI, and on threads as ranks")
    func ranks() throws {
      try run("1", ranks: 1)
      for ranks in [2, 3, 4] {
        try run("\(ranks)", ranks: ranks)
        try expectSame("\(ranks)", as: "1")
      }
      for ranks in [2, 8] {
        try run("threads-\(ranks)", ranks: 1, variables: ["LOCKSTEP_IN_PROCESS": "\(ranks)"])
        try expectSame("threads-\(ranks)", as: "1")
      }
    }

    @Test("so they have on two hosts, uneven ones, with two threads a rank, and without shared memory")
    func hosts() throws {
      try run("1", ranks: 1)
      try run("hosts", ranks: 3, variables: ["LOCKSTEP_PRETEND_HOSTS": "2,1"])
      try expectSame("hosts", as: "1")
      try run("threads", ranks: 2, variables: ["LOCKSTEP_NUM_THREADS": "2"])
      try expectSame("threads", as: "1")
      try run("copies", ranks: 2, variables: ["LOCKSTEP_SHARED_MEMORY": "off"])
      try expectSame("copies", as: "1")
    }

    @Test("a run that goes on with another number of ranks ends with the bits of the undisturbed one")
    func resumes() throws {
      try run("whole", ranks: 1, ["--checkpointing-steps", "17"])
      try makeDirectory("\(path("part"))/checkpoints")
      let name = CheckpointStore.name(step: 34)
      _ = try folder.copy(path("whole/checkpoints/\(name)"), as: "part/checkpoints/\(name)")
      try folder.write(readBytes(path("whole.jsonl")), "part.jsonl")
      let outcome = try run("part", ranks: 3, ["--resume-from-checkpoint", "latest"])
      #expect(outcome.output.contains("the same bits"), "\(outcome.output)")
      try expectSame("part", as: "whole")
    }

    @Test("a checkpoint of one way to add gradients is refused by the other, by the option")
    func refusesOther() throws {
      try run("whole", ranks: 1, ["--checkpointing-steps", "30"])
      let outcome = try finetune(
        arguments("whole", ["--resume-from-checkpoint", "latest", "--reduction", "fast"]))
      #expect(outcome.status == 65 && outcome.errors.contains("--reduction"), "\(outcome.errors)")
    }

    @Test(
      "what makes numbers depend on the ranks is refused",
      arguments: [["--ddp-comm-hook", "bf16"], ["--uneven", "pad"]])
    func refuses(options: [String]) throws {
      let outcome = try finetune(Self.options + options)
      #expect(outcome.status == 64 && outcome.errors.contains(options[0]), "\(outcome.errors)")
    }
  }
}
