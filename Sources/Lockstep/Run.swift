import Collectives
import Glibc
import Kernels
import System
import Training

/// How products are computed.
public enum MixedPrecision: String, Sendable, CaseIterable {
  /// In fp32.
  case no
  /// Of numbers rounded to bf16; weights and sums stay in fp32.
  case bf16
}

package struct RunOptions: Sendable {
  package var gradientAccumulationSteps = 1
  package var splitBatches = false
  package var mixedPrecision: MixedPrecision?
  package var wirePrecision = WirePrecision.no
  package var lockstepCheck = 50
  package var settings = RankSettings()

  package init() {}

  /// What was asked for: by the program, else by the launcher.
  func precision() throws(Failure) -> ProductPrecision {
    var mixed = mixedPrecision
    if mixed == nil { mixed = try settings.mixedPrecision(as: MixedPrecision.self) }
    let precision: ProductPrecision = mixed == .bf16 ? .bf16 : .high
    guard precision.isAvailable else { throw Failure(.unavailable, "bf16 on a CPU without AVX2") }
    return precision
  }
}

/// Runs `body` as each rank of the job, as `launch`, mpirun or srun started it, and ends the process with the job's exit
/// status. An error of `body` ends the job on all ranks, with one line on standard error and the status that it carries,
/// or 70.
///
/// - Parameters:
///   - gradientAccumulationSteps: batches of an accumulation window.
///   - splitBatches: whether the batch size of a loader is that of all ranks together.
///   - mixedPrecision: nil takes what the launcher was told, else fp32.
///   - lockstepCheck: steps from one comparison of all ranks' steps, rates and numbers to the next; 0 never compares.
///   - body: the program of one rank.
public func run(
  gradientAccumulationSteps: Int = 1, splitBatches: Bool = false, mixedPrecision: MixedPrecision? = nil,
  lockstepCheck: Int = 50, _ body: @escaping @Sendable (Accelerator) throws -> Void
) -> Never {
  var options = RunOptions()
  options.gradientAccumulationSteps = gradientAccumulationSteps
  options.splitBatches = splitBatches
  options.mixedPrecision = mixedPrecision
  options.lockstepCheck = lockstepCheck
  let chosen = options
  Worker.run(program: programName()) { (communicator, settings) throws(Failure) in
    var options = chosen
    options.settings = settings
    try runRank(communicator, options, body)
  }
}

/// The same for a program by hand, as one process. With several ranks each would train the same, so that is refused.
public func run(_ body: @escaping @Sendable () throws -> Void) -> Never {
  Worker.run(program: programName()) { (communicator, _) throws(Failure) in
    guard communicator.size == 1 else {
      throw Failure(
        .usage, "a loop by hand runs as one process, started were \(communicator.size)",
        hint: "take the accelerator that run passes, and call prepare")
    }
    do { try body() } catch { throw failure(of: error) }
  }
}

/// Runs `body` as one rank.
package func runRank(
  _ communicator: any Communicator, _ options: RunOptions, _ body: (Accelerator) throws -> Void
) throws(Failure) {
  let accelerator = try Accelerator(communicator, options)
  do { try body(accelerator) } catch { throw failure(of: error) }
  accelerator.noteResult()
  if accelerator.shouldStop { communicator.noteStop() }
}

private func programName() -> String {
  String(CommandLine.arguments.first?.split(separator: "/").last ?? "program")
}
