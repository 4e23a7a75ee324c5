import Checkpoints
import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// Jobs of the launcher that are told to stop while they do something else than steps.
  struct StopPhases {
    private let runs: SmallRuns
    private static let signals = [SIGTERM, SIGUSR1, SIGINT]

    init() throws { runs = try SmallRuns(["--batch-size", "4", "--split-batches"]) }

    private func start(_ more: [String], metrics: Bool = true) throws -> Program {
      let launcher = [try Program.built("launch"), "--num_processes", "2", "finetune"]
      return try Program(
        launcher + runs.arguments("part", more + (metrics ? ["--metrics", runs.path("part.jsonl")] : [])))
    }

    private func steps() -> Int {
      ((try? readBytes(runs.path("part.jsonl"))) ?? []).split(separator: 0x0A).filter {
        String(decoding: $0, as: UTF8.self).contains("\"kind\":\"step\"")
      }.count
    }

    /// A stop that was heard: the job says where it has saved, long before anybody ends it by force.
    private func expectStopped(_ program: Program, _ signal: Int32) -> Program.Outcome {
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status == 128 + signal && outcome.left == [], "\(outcome.status) \(outcome.errors)")
      #expect(outcome.output.contains("--resume-from-checkpoint latest continues from there"), "\(outcome.output)")
      return outcome
    }

    @Test("a stop while a job starts ends it; no checkpoint is lost, and nothing is left", arguments: signals)
    func starting(signal: Int32) throws {
      let options = ["--max-steps", "20000", "--checkpointing-steps", "10", "--checkpoint-total-limit", "2"]
      for milliseconds: UInt32 in [20, 28, 36, 60, 100, 150, 200, 300, 450] {
        let program = try start(options + ["--resume-from-checkpoint", "latest"], metrics: false)
        usleep(1000 * milliseconds)
        kill(program.process, signal)
        let outcome = program.wait(seconds: 20)
        #expect(
          outcome.status == 128 + signal && outcome.left == [],
          "\(milliseconds) ms: \(outcome.status) \(outcome.errors)")
        _ = try runs.newest("part")
      }
    }

    @Test("a stop while rows are read and tokenized ends the job at once", arguments: signals)
    func tokenizing(signal: Int32) throws {
      let data = try manyRows(of: "train.tsv", times: 4000)
      let program = try start(["--data", data, "--max-steps", "40"])
      while program.marked.filter({ $0.rank != nil }).count < 4 {
        try #require(program.seconds < 30 && !program.hasEnded, "no ranks")
        usleep(2000)
      }
      usleep(100_000)
      #expect(!program.outputSoFar.contains("training rows"), "the rows are read already")
      kill(program.process, signal)
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status == 128 + signal && outcome.left == [], "\(outcome.status) \(outcome.errors)")
      // On a slow machine the stop may be heard later, after a step that is then saved.
      let newest = try runs.newest("part") ?? 0
      #expect(newest == steps(), "\(outcome.output)")
    }

    @Test("a stop during an evaluation saves without its end, and the evaluation is done again", arguments: signals)
    func evaluating(signal: Int32) throws {
      let data = try manyRows(of: "dev.tsv", times: 8000)
      let options = ["--data", data, "--max-steps", "16"]
      try runs.run("whole", ranks: 2, options + ["--metrics", runs.path("whole.jsonl")])
      let program = try start(options)
      while steps() < 16 {
        try #require(program.seconds < 60 && !program.hasEnded, "no evaluation")
        usleep(2000)
      }
      // Until an agent has told the launcher that its rank looks for a stop, a signal just ends the rank.
      usleep(1_200_000)
      kill(program.process, signal)
      let outcome = expectStopped(program, signal)
      #expect(outcome.output.contains("stopped after step 16 of 16"), "\(outcome.output)")
      try runs.expectGoesOn(
        "part", ranks: 2, options + ["--metrics", runs.path("part.jsonl")], as: "whole", "after a stop in evaluation")
      #expect(try readBytes(runs.path("part.jsonl")) == readBytes(runs.path("whole.jsonl")))
    }

    @Test("a stop while a checkpoint is written waits for it, and saves where the run stands", arguments: signals)
    func saving(signal: Int32) throws {
      let options = ["--max-steps", "6000", "--checkpointing-steps", "20", "--checkpoint-total-limit", "3"]
      let program = try start(options)
      while steps() < 100 {
        try #require(program.seconds < 60 && !program.hasEnded, "no steps")
        usleep(2000)
      }
      usleep(1_200_000)
      while !TemporaryFolder.entries(runs.checkpoints("part")).contains(where: { $0.hasSuffix(".unfinished") }) {
        try #require(program.seconds < 60 && !program.hasEnded, "no save")
        usleep(200)
      }
      kill(program.process, signal)
      _ = expectStopped(program, signal)
      let names = TemporaryFolder.entries(runs.checkpoints("part"))
      #expect(names.count == 3 && names.allSatisfy { CheckpointStore.step(ofName: $0) != nil }, "\(names)")
      #expect(try runs.newest("part") == steps(), "the newest one is of the last step that was taken")
    }

    @Test("a stop whose checkpoint has no room ends as a failure, with its status and how to go on", .needs(.mounts))
    func noRoom() throws {
      // Less than a checkpoint needs.
      let script = "cd \(runs.folder.path); mkdir disk; mount -t tmpfs -o size=100k disk disk; exec \"$@\""
      let launcher = [try Program.built("launch"), "--num_processes", "2", "finetune"]
      let program = try Program(
        ["unshare", "--mount", "bash", "-c", script, "bash"] + launcher
          + runs.arguments("disk/part", ["--max-steps", "20000", "--metrics", runs.path("part.jsonl")]))
      while steps() < 10 {
        try #require(program.seconds < 60 && !program.hasEnded, "no steps")
        usleep(2000)
      }
      usleep(1_200_000)
      kill(program.process, SIGTERM)
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status == 74 && outcome.left == [], "\(outcome.status) \(outcome.errors)")
      #expect(outcome.errors.contains("No space left"), "\(outcome.errors)")
      #expect(outcome.errors.contains("continue with --resume-from-checkpoint latest"), "\(outcome.errors)")
    }

    /// The small data with the rows of one of its tables so many times.
    private func manyRows(of table: String, times: Int) throws -> String {
      let data = try runs.folder.copy("\(Golden.folder)/mrpc", as: "data")
      let lines = try readBytes("\(data)/\(table)").split(separator: 0x0A)
      let rows = Array(lines.dropFirst().map { Array($0) + [0x0A] }.joined())
      try writeAtomically(
        Array(lines.prefix(1).joined()) + [0x0A] + Array(repeatElement(rows, count: times).joined()),
        to: "\(data)/\(table)")
      return data
    }
  }
}
