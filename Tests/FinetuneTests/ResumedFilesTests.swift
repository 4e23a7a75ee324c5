import Checkpoints
import System
import TestSupport
import Testing

extension Programs {
  /// Files with lines for each step, of runs that go on.
  struct ResumedFiles {
    private let runs: SmallRuns
    private static let options = ["--batch-size", "16", "--split-batches", "--max-steps", "12"]

    init() throws { runs = try SmallRuns(Self.options) }

    private func files(_ name: String) -> [String] {
      [
        "--step-digests", runs.path("\(name).digests"), "--debug-rows", runs.path("\(name).rows"),
        "--metrics", runs.path("\(name).jsonl"),
      ]
    }

    private func lines(_ name: String) throws -> [[UInt8]] {
      try readBytes(runs.path(name)).split(separator: 0x0A).map { Array($0) + [0x0A] }
    }

    /// The step that a line of digests or rows begins with; 0 for a header.
    private func step(_ line: [UInt8]) -> Int {
      Int(String(decoding: line.prefix { $0 != 0x09 }, as: UTF8.self)) ?? 0
    }

    /// A run that is left undisturbed, and one that has its checkpoint of a step and none of its files.
    private func cut(_ name: String, at step: Int) throws {
      try runs.run("whole", ["--checkpointing-steps", "3"] + files("whole"))
      let checkpoint = CheckpointStore.name(step: step)
      _ = try runs.folder.copy(
        "\(runs.checkpoints("whole"))/\(checkpoint)", as: "\(name)/checkpoints/\(checkpoint)")
    }

    private func resume(_ name: String, _ more: [String]) throws -> Program.Outcome {
      try finetune(runs.arguments(name, ["--resume-from-checkpoint", "latest"] + more))
    }

    @Test("digests and rows are cut to the checkpoint and continued: each step is there once, whatever a kill left")
    func continued() throws {
      try cut("part", at: 6)
      for file in ["digests", "rows"] {
        // Beyond the checkpoint, and with half a line.
        let whole = try lines("whole.\(file)")
        try runs.folder.write(Array(whole.joined().dropLast(7)), "part.\(file)")
      }
      let outcome = try resume("part", files("part"))
      #expect(outcome.status == 0, "\(outcome.errors)")
      for file in ["digests", "rows"] {
        #expect(try readBytes(runs.path("part.\(file)")) == readBytes(runs.path("whole.\(file)")), "\(file)")
      }
      #expect(outcome.output.contains("part.jsonl begins after step 6: the steps before are not in it"))
      #expect(!outcome.output.contains("part.rows begins after"), "\(outcome.output)")
    }

    @Test("digests of a run that began later are known for what they are, and continued")
    func late() throws {
      try cut("part", at: 9)
      let later = try lines("whole.digests").filter { step($0) >= 5 }
      try runs.folder.write(Array(later.joined()), "part.digests")
      let outcome = try resume("part", ["--step-digests", runs.path("part.digests")])
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(try lines("part.digests") == later)
    }

    @Test("a file that lacks steps before the checkpoint is refused with both steps, and stays as it is")
    func gaps() throws {
      try cut("part", at: 6)
      for (option, file) in [("--step-digests", "digests"), ("--debug-rows", "rows")] {
        let whole = try lines("whole.\(file)")
        let cases: [(lines: [[UInt8]], words: String)] = [
          (whole.filter { step($0) <= 4 }, "ends at step 4, expected at least 6 (give"),
          (whole.filter { step($0) != 3 }, "is of step 4 after one of step 2, expected step 3 (give"),
        ]
        for (lines, words) in cases {
          let bytes = Array(lines.joined())
          let path = try runs.folder.write(bytes, "part.\(file)")
          let outcome = try resume("part", [option, path])
          #expect(outcome.status == 65 && outcome.errorLines.count == 1, "\(outcome.errors)")
          #expect(outcome.errors.contains(words), "\(words) in \(outcome.errors)")
          #expect(try readBytes(path) == bytes)
        }
      }
      let whole = try lines("whole.jsonl")
      let cases: [(lines: [[UInt8]], words: String)] = [
        (Array(whole.prefix(2)), "ends at step 2, expected at least 6 (give"),
        (Array(whole.prefix(2) + whole.dropFirst(3)), ":3:1: is of step 4 after one of step 2, expected step 3 (give"),
      ]
      for (lines, words) in cases {
        let path = try runs.folder.write(Array(lines.joined()), "part.jsonl")
        let outcome = try resume("part", ["--metrics", path])
        #expect(outcome.status == 65 && outcome.errors.contains(words), "\(words) in \(outcome.errors)")
      }
    }
  }

  /// What a run finds where another has saved.
  struct MixedRuns {
    private let runs: SmallRuns
    private static let options = ["--batch-size", "16", "--split-batches", "--max-steps", "12"]

    init() throws { runs = try SmallRuns(Self.options) }

    private static let saving = ["--checkpointing-steps", "3"]

    @Test("a checkpoint from elsewhere beside those of another run is refused; removing them, and a restart, are not")
    func foreign() throws {
      try runs.run("other", Self.saving)
      try runs.run("part", Self.saving)
      let foreign = ["--resume-from-checkpoint", "\(runs.checkpoints("other"))/step-000006"]
      let names = TemporaryFolder.entries(runs.checkpoints("part"))
      let mixed = try finetune(runs.arguments("part", Self.saving + foreign))
      #expect(mixed.status == 73 && mixed.errorLines.count == 1, "\(mixed.errors)")
      for words in ["holds checkpoints of another run", "other/checkpoints/step-000006 is none of them", "latest"] {
        #expect(mixed.errors.contains(words), "\(words) in \(mixed.errors)")
      }
      #expect(TemporaryFolder.entries(runs.checkpoints("part")) == names)

      // The launcher's second start finds what the first has saved since.
      let restart = try finetune(
        runs.arguments("part", Self.saving + foreign), variables: ["LOCKSTEP_RESTART": "1"])
      #expect(restart.status == 0 && restart.output.contains("continues after step 12"), "\(restart.errors)")
      try runs.run("part", Self.saving + ["--resume-from-checkpoint", "\(runs.checkpoints("part"))/step-000003"])

      let replaced = try runs.run("part", foreign + ["--overwrite-output-dir"])
      #expect(replaced.output.contains("continues after step 6"))
      #expect(TemporaryFolder.entries(runs.checkpoints("part")) == [], "those of the other run are gone")
      #expect(try runs.weights("part") == runs.weights("other"))
      #expect(TemporaryFolder.entries(runs.checkpoints("other")) == names)
    }

    @Test("--debug-batch changes nothing, and what is wrong with it is said before anything else")
    func debugBatch() throws {
      let metrics = runs.path("part.jsonl")
      try runs.run("part", Self.saving + ["--metrics", metrics])
      let (before, lines) = (TemporaryFolder.entries(runs.path("part")), try readBytes(metrics))
      let names = TemporaryFolder.entries(runs.checkpoints("part"))
      let files = [
        "--metrics", metrics, "--step-digests", runs.path("digests"), "--debug-rows", runs.path("rows"),
        "--checkpoint-total-limit", "1",
      ]
      let early = "\(runs.checkpoints("part"))/step-000003"
      func run(_ ranks: Int, _ output: String, _ more: [String]) throws -> Program.Outcome {
        let outcome = try finetune(ranks: ranks, runs.arguments(output, Self.saving + files + more))
        #expect(TemporaryFolder.entries(runs.path("part")) == before)
        #expect(TemporaryFolder.entries(runs.checkpoints("part")) == names)
        #expect(TemporaryFolder.entries(runs.folder.path) == ["part", "part.jsonl"])
        #expect(try readBytes(metrics) == lines)
        return outcome
      }
      let begins: [(String, [String], Int)] = [
        ("part", ["--resume-from-checkpoint", early], 8), ("part", [], 5), ("none", [], 1),
        ("none", ["--resume-from-checkpoint", early], 4),
      ]
      for (output, source, step) in begins {
        let shown = try run(1, output, source + ["--debug-batch", "\(step)"])
        #expect(shown.status == 0 && shown.output.contains("step \(step): loss "), "\(shown.errors)")
        #expect(shown.output.contains("all numbers are finite"), "\(shown.output)")
      }
      let latest = ["--resume-from-checkpoint", "latest"]
      let refused: [(Int, [String], String)] = [
        (2, ["--overwrite-output-dir", "--debug-batch", "5"], "--overwrite-output-dir"),
        (1, ["--overwrite-output-dir", "--debug-batch", "5"], "--overwrite-output-dir"),
        (2, ["--debug-batch", "5"], "2 processes, expected one"),
        (1, ["--debug-batch", "13"], "13, expected 1 to 12"),
        (1, latest + ["--debug-batch", "13"], "13, expected 1 to 12 and a checkpoint before it"),
        (1, ["--resume-from-checkpoint", early, "--debug-batch", "2"], "2, expected 4 to 12"),
        (1, ["--debug-batch", "-1"], "--debug-batch: -1, expected at least 1"),
        (1, ["--lockstep-check", "-1"], "--lockstep-check: -1, expected at least 0"),
        (1, ["--checkpoint-total-limit", "-1"], "--checkpoint-total-limit: -1, expected at least 1"),
      ]
      for (ranks, more, words) in refused {
        let outcome = try run(ranks, "part", more)
        #expect(outcome.status == 64 && outcome.errors.contains(words), "\(words) in \(outcome.errors)")
      }
    }
  }
}
