import BERT
import Collectives
import DataParallel
import Kernels
import Reporting
import System

/// Steps whose bits do not depend on the ranks; see `GradientRounds`.
extension TrainingEngine {
  /// Forward and backward of this rank's groups. A round that is not the window's last is added up at once.
  func backwardInGroups(_ microBatch: MicroBatch, _ rounds: any GradientRounds) throws(Failure) {
    guard let groups = microBatch.groups else { preconditionFailure("a micro-batch without groups of rows") }
    var clock = LapClock()
    let isFirst = rowsInStep == 0
    rowsInStep = microBatch.rowsInStep
    if isFirst { synchronizer.beginWindow() }
    rounds.beginRound(rows: microBatch.rowsInRound, isFirst: isFirst)
    let losses = microBatch.rows.isEmpty ? [] : computeInGroups(microBatch, groups, rounds, &clock)
    try gatherLosses(losses, microBatch, rounds)
    finish(.waiting, &clock)
    guard !microBatch.isLastInStep else { return }
    try rounds.addRound()
    finish(.optimizer, &clock)
  }

  /// Adds the round's losses to the window's, in the order of its rows; also the sign that all gradients are there.
  private func gatherLosses(
    _ own: [Double], _ microBatch: MicroBatch, _ rounds: any GradientRounds
  ) throws(Failure) {
    let most = rounds.plan.mostRows(ranks: communicator.size)
    let all = try communicator.allGather([Double(own.count)] + own + Array(repeating: 0, count: most - own.count))
      .map { $0.dropFirst().prefix(Int($0[0])) }
    for losses in all { for loss in losses { windowLossSum += loss } }
    guard let bad = all.firstIndex(where: { !$0.allSatisfy(\.isFinite) }) else { return }
    if badNumbers.lossRank == nil { badNumbers.lossRank = bad }
    guard optimizer.options.nonFinite == .stop else { return }
    try refuse(problem(ofLoss: all[bad].first { !$0.isFinite } ?? .nan, on: bad))
  }

  /// Throws where the same bits on any number of ranks cannot be had.
  static func checkGroups(_ model: Model, wire: WirePrecision, _ settings: RankSettings) throws(Failure) {
    guard GEMM.canBeRowIndependent, !settings.leavesProductsToBLAS else {
      throw Failure(
        .unavailable, "steps with the same bits on any number of ranks need Lockstep's own products, not OpenBLAS's",
        hint: "a CPU with AVX2, and products that are not left to OpenBLAS")
    }
    guard !wire.rounds else {
      throw Failure(
        .usage, "gradients rounded to \(wire.rawValue) between hosts, expected fp32 for the same bits on any hosts")
    }
    guard model.head == nil else {
      throw Failure(.usage, "a head of the program's own, expected BERT's for the same bits on any number of ranks")
    }
  }

  /// Bytes for nodes of groups that a rank cannot add up by itself.
  static func groupBytes(_ plan: RowGroupPlan, _ model: Model, ranks: Int) -> Int {
    (plan.mostNodes(ranks: ranks) - 1) * model.layout.count * MemoryLayout<Float>.stride
  }
}
