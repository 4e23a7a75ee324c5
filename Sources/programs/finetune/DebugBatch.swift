import Reporting
import System
import Training

/// `--debug-batch STEP`: one step's loss, what each layer put out, and the norm of each tensor's gradient. Such a run writes
/// nothing.
enum DebugBatch {
  /// Refuses more than one process. Before anything is read.
  static func check(processes: Int) throws(Failure) {
    guard processes == 1 else {
      throw Failure(
        .usage, at: "--debug-batch", "\(processes) processes, expected one, which sees all gradients",
        hint: "--num_processes 1, and --split-batches with the batch size of all ranks")
    }
  }

  /// Refuses a step that the run does not take.
  ///
  /// - Parameters:
  ///   - first: steps behind the run.
  ///   - total: steps of the whole run.
  static func check(_ step: Int, after first: Int, total: Int) throws(Failure) {
    guard step <= first || step > total else { return }
    let place = first > 0 ? ", for the checkpoint is of step \(first)" : ""
    let hint = "--resume-from-checkpoint takes an earlier checkpoint"
    guard first < total else {
      throw Failure(
        .usage, at: "--debug-batch",
        "\(step), expected 1 to \(total) and a checkpoint before it: this one is of step \(first), the last one",
        hint: hint)
    }
    throw Failure(
      .usage, at: "--debug-batch", "\(step), expected \(first + 1) to \(total)\(place)",
      hint: step <= first ? hint : nil)
  }

  static func write(_ window: WindowInspection, step: Int, _ reporter: Reporter) throws(Failure) {
    try reporter.line("step \(step): loss \(window.loss)")
    for part in window.layers {
      try reporter.line("  largest number in the output of \(part.name): \(part.size)\(bad(part))")
    }
    for part in window.tensors { try reporter.line("  norm of the gradient of \(part.name): \(part.size)\(bad(part))") }
    let first = window.firstBad.map { "the first number that is not finite is in \($0.name)" }
    try reporter.line(first ?? "all numbers are finite")
  }

  private static func bad(_ part: WindowInspection.Part) -> String {
    part.firstBad.map { ", not finite at \($0)" } ?? ""
  }
}
