import Glibc
import TestSupport
import Testing

extension Programs {
  /// Signals that reach a rank itself.
  struct RankSignals {
    private let runs: SmallRuns
    private static let long = ["--max-steps", "100000", "--checkpointing-steps", "1000"]

    init() throws { runs = try SmallRuns([]) }

    private func waitForSteps(_ program: Program) throws {
      while (try? MetricsLine.read(runs.path("metrics")))?.contains(where: { $0.step > 20 }) != true {
        try #require(program.seconds < 60 && !program.hasEnded, "no steps")
        usleep(10_000)
      }
    }

    private func expectStop(_ outcome: Program.Outcome, _ signal: Int32) throws {
      #expect(outcome.status == 128 + signal && outcome.left == [], "\(outcome.status) \(outcome.errors)")
      #expect(outcome.output.contains("stopped after step "), "\(outcome.output)")
      #expect(try runs.newest("part") != nil, "nothing is saved")
    }

    @Test(
      "one rank of a launched job gets a signal: all finish the step and save", arguments: [SIGUSR1, SIGTERM, SIGINT])
    func launched(signal: Int32) throws {
      let launcher = [try Program.built("launch"), "--num_processes", "2", "finetune"]
      let program = try Program(launcher + runs.arguments("part", Self.long + ["--metrics", runs.path("metrics")]))
      try waitForSteps(program)
      // The rank was started after its agent.
      let victim = try #require(program.marked.filter { $0.rank == 1 }.map(\.id).max(), "rank 1 is there")
      kill(victim, signal)
      try expectStop(program.wait(seconds: 60), signal)
    }

    @Test("without the launcher, alone or under mpirun, too", arguments: [1, 2], [SIGUSR1, SIGTERM])
    func bare(ranks: Int, signal: Int32) throws {
      let program = try Program(
        Program.command(
          "finetune", ranks: ranks, runs.arguments("part", Self.long + ["--metrics", runs.path("metrics")])))
      try waitForSteps(program)
      let victim = try #require(program.marked.filter { $0.rank ?? 0 == ranks - 1 }.map(\.id).max(), "it is there")
      kill(victim, signal)
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status != 0 && outcome.left == [], "\(outcome.status) \(outcome.errors)")
      if ranks == 1 { try expectStop(outcome, signal) }
      #expect(outcome.output.contains("stopped after step "), "\(outcome.output)")
      #expect(try runs.newest("part") != nil, "nothing is saved")
    }
  }

  /// What a launched job ends with where a disk is full.
  struct FullDisks {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test(
      "a full disk ends a job of two ranks with 74 and the reason, not as if somebody had ended it", .needs(.mounts),
      arguments: [
        ("400k", ["--checkpointing-steps", "3", "--output-dir", "disk/out"]), ("8k", ["--metrics", "disk/m"]),
      ])
    func status(size: String, options: [String]) throws {
      let script = "cd \(folder.path); mkdir disk; mount -t tmpfs -o size=\(size) disk disk; exec \"$@\""
      let job = [try Program.built("launch"), "--num_processes", "2", "finetune"] + tinyModel
      let outcome = try Program.run(
        ["unshare", "--mount", "bash", "-c", script, "bash"] + job + ["--max-steps", "300"] + options)
      #expect(outcome.status == 74 && outcome.left == [], "\(outcome.status) \(outcome.errors)")
      #expect(
        outcome.errorLines.first?.contains("No space left") == true && !outcome.errors.contains("signal"),
        "\(outcome.errors)")
    }
  }
}
