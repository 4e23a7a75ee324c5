import ArgumentParser
import Checkpoints
import Collectives
import ProgramSupport
import System
import Training

/// How often a checkpoint is saved.
enum CheckpointInterval: ExpressibleByArgument, Equatable {
  case steps(Int)
  case epoch

  init?(argument: String) {
    if argument == "epoch" {
      self = .epoch
    } else if let steps = Int(argument), String(steps) == argument {
      self = .steps(steps)
    } else {
      return nil
    }
  }
}

/// What becomes of a run where a checkpoint cannot be saved.
enum FailedSave: String, ExpressibleByArgument, CaseIterable {
  case stop
  case goOn = "continue"
}

/// The options for checkpoints and for going on from one, with the names of `run_glue_no_trainer.py` and of Accelerate.
struct CheckpointOptions: ParsableArguments {
  @Option(
    name: bothSpellings("checkpointing-steps"),
    help: ArgumentHelp(
      "Save a checkpoint into --output-dir every so many optimizer steps, or with \"epoch\" after each epoch.",
      valueName: "steps|epoch"))
  var interval: CheckpointInterval?

  @Option(
    name: bothSpellings("checkpoint-total-limit", "total-limit"),
    help: ArgumentHelp(
      "The most checkpoints that stay; the oldest are removed. (default: all stay)", valueName: "count"))
  var limit: Int?

  @Option(
    name: bothSpellings("resume-from-checkpoint"),
    help: ArgumentHelp(
      "Continue from this checkpoint, or with \"latest\" from the newest one in --output-dir; where there is none, from the beginning.",
      valueName: "dir|latest"))
  var resume: String?

  @Option(
    name: bothSpellings("on-failed-save"),
    help:
      "Where a checkpoint cannot be saved. stop: the run ends. continue: it says so and trains on; the last complete checkpoint stays."
  )
  var onFailedSave = FailedSave.stop

  static let latest = "latest"

  /// What to continue from: as the user says, or after a restart by the launcher, the newest checkpoint.
  func source(isRestart: Bool) -> String? { interval != nil && isRestart ? Self.latest : resume }

  /// Checks what can be checked before anything is read.
  func check(outputDir: String?) throws(Failure) {
    if case .steps(let steps) = interval {
      try ProgramSupport.check(steps, "--checkpointing-steps", Limits.steps)
    }
    try ProgramSupport.check(limit, "--checkpoint-total-limit", 1...1_000_000)
    if outputDir == nil {
      let given = [
        ("--checkpointing-steps", interval != nil), ("--checkpoint-total-limit", limit != nil),
        ("--resume-from-checkpoint", resume == Self.latest),
      ]
      if let (option, _) = given.first(where: \.1) {
        throw Failure(.usage, at: option, "needs --output-dir", hint: "checkpoints are in its folder checkpoints")
      }
    }
    if onFailedSave == .goOn && interval == nil {
      throw Failure(.usage, at: "--on-failed-save", "continue needs --checkpointing-steps")
    }
    if resume == "" {
      throw Failure(.usage, at: "--resume-from-checkpoint", "is empty, expected a checkpoint's folder or latest")
    }
  }
}
