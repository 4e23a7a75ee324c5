import Collectives
import Reporting
import System
import Training

/// `--debug-batch STEP`: one step's loss, what each layer put out, and the norm of each tensor's gradient.
enum DebugBatch {
  /// - Parameters:
  ///   - first: steps behind the run.
  ///   - total: steps of the whole run.
  static func check(_ step: Int, after first: Int, total: Int, _ communicator: any Communicator) throws(Failure) {
    guard communicator.size == 1 else {
      throw Failure(
        .usage, at: "--debug-batch", "\(communicator.size) processes, expected one, which sees all gradients",
        hint: "--num_processes 1, and --split-batches with the batch size of all ranks")
    }
    guard (first + 1...max(first + 1, total)).contains(step) else {
      throw Failure(
        .usage, at: "--debug-batch", "\(step), expected \(first + 1) to \(total)",
        hint: "--resume-from-checkpoint takes an earlier checkpoint")
    }
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
