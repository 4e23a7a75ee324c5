import System
import TestSupport
import Testing

extension Programs {
  /// The programs in Examples, as a user starts them.
  struct Examples {
    private func example(
      _ name: String, ranks: Int, _ arguments: [String] = [], variables: [String: String] = [:]
    ) throws -> Program.Outcome {
      let folders = ["\(Golden.folder)/tiny-bert", "\(Golden.folder)/mrpc"]
      return try Program.run(
        Program.command(name, ranks: ranks, folders + arguments), variables: variables)
    }

    /// The losses in lines such as `step 3: loss 0.7`.
    private func losses(_ outcome: Program.Outcome) -> [Double] {
      outcome.outputLines.filter { $0.hasPrefix("step ") }.compactMap { line in
        line.split(separator: " ").last.flatMap { Double($0) }
      }
    }

    @Test("the accelerated loop is finetune's curve on 1, 2, 3 and 4 ranks with one global batch")
    func curve() throws {
      let folder = try TemporaryFolder()
      let run = try finetune(tinyModel + ["--batch-size", "12", "--metrics", "\(folder.path)/metrics"])
      #expect(run.status == 0, "\(run.errors)")
      let lines = try MetricsLine.read("\(folder.path)/metrics")
      let steps = lines.filter { $0.kind == "step" }
      try #require(steps.count == 18)
      for ranks in 1...4 {
        let outcome = try example("accelerated-loop", ranks: ranks, ["\(12 / ranks)"])
        #expect(outcome.status == 0 && outcome.errors == "" && outcome.left == [], "\(outcome.errors)")
        let losses = losses(outcome)
        try #require(losses.count == steps.count)
        for (step, loss) in zip(steps, losses) {
          #expect(relativeError(loss, step.loss) <= 1e-6, "\(ranks) ranks, step \(step.step): \(loss)")
        }
        let last = try #require(lines.last)
        let scores = try #require(outcome.outputLines.last)
        let rounded = [last.accuracy, last.f1].compactMap { $0 }.map { ($0 * 1e4).rounded() / 1e4 }
        #expect(
          scores == "epoch 3: accuracy \(rounded[0]), f1 \(rounded[1])", "main alone prints, every row counts once")
      }
    }

    @Test("the loop by hand writes what the accelerated one does on one rank, and is refused on two") func byHand()
      throws
    {
      let byHand = try example("manual-loop", ranks: 1)
      let accelerated = try example("accelerated-loop", ranks: 1)
      #expect(
        byHand.status == 0 && byHand.output == accelerated.output && byHand.outputLines.count > 3, "\(byHand.errors)")
      let two = try example("manual-loop", ranks: 2)
      #expect(two.status == 64 && two.errors.contains("runs as one process, started were 2"), "\(two.errors)")
    }

    @Test("a task of one's own learns and stops early together, the same on 1, 2 and 4 ranks and as on two hosts")
    func ownTask() throws {
      let alone = try example("own-task", ranks: 1)
      #expect(alone.status == 0 && alone.output.contains("on 60 rows"), "\(alone.output) \(alone.errors)")
      #expect(alone.output.contains("  predictions 1:"), "\(alone.output)")
      for (ranks, hosts) in [(2, nil), (4, nil), (3, "2,1")] {
        let outcome = try example(
          "own-task", ranks: ranks, variables: hosts.map { ["LOCKSTEP_PRETEND_HOSTS": $0] } ?? [:])
        #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
        #expect(outcome.output.contains("epoch 1: kappa ") && outcome.output.contains("on 60 rows"))
        #expect(outcome.output.contains("stopped early") || outcome.output.contains("epoch 10"), "\(outcome.output)")
      }
    }

    @Test("what an example was not given, and folders that are not there, are one line with a status")
    func badInput() throws {
      for name in ["manual-loop", "accelerated-loop", "own-task"] {
        let bare = try Program.run([Program.built(name)])
        #expect(bare.status == 64 && bare.errorLines.count == 1 && bare.errors.hasPrefix("\(name): error: "))
        let missing = try Program.run([Program.built(name), "/nonexistent", "\(Golden.folder)/mrpc"])
        #expect(missing.status == 66 && missing.errorLines.count == 1, "\(missing.errors)")
      }
    }
  }
}
