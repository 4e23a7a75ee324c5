/// How ranks have ended, and which of them the job failed by.
extension RankTable.Rank {
  /// What is said of a rank that ended with status 0 and had not done its work.
  var earlyEnd: String {
    if phase == .unknown { return "ended with status 0 before it had joined the others" }
    let step = report.state.step >= 0 ? " after step \(report.state.step)" : ""
    return "ended with status 0\(step), before its work was done"
  }
}

extension RankTable {
  /// Whether the process that ended as `rank`, as mpirun says, was its agent, which says how the rank has ended.
  func isAgentLost(of rank: Int) -> Bool {
    ranks.indices.contains(rank) && ranks[rank].heard != nil && !ranks[rank].hasEnded
  }

  /// A rank that ended with status 0 because its agent was told to end it, and not because it was done.
  var obeyed: Rank? {
    ranks.first { rank in
      rank.hasEnded && rank.report.wasTold != 0 && rank.report.status == 0 && rank.report.signal == 0
        && rank.outcome != .done
    }
  }

  /// Whether ranks live on so long after one failed, or obeyed somebody who told its agent to end it.
  func hasLivedOn(seconds: Double, at now: ContinuousClock.Instant) -> Bool {
    guard ranks.contains(where: { !$0.hasEnded }), let ended = (culprit ?? obeyed)?.ended else { return false }
    return now - ended > .seconds(seconds)
  }

  /// Whether all ranks have ended, the last so long ago.
  func hasEnded(seconds: Double, at now: ContinuousClock.Instant) -> Bool {
    guard ranks.allSatisfy(\.hasEnded), let last = ranks.compactMap(\.ended).max() else { return false }
    return now - last > .seconds(seconds)
  }

  /// The rank that has called MPI_Abort with a status that is 0 to the system, where mpirun, which loses the message now
  /// and then, ended the others and calls that a success.
  var aborter: Rank? {
    let isEnded = ranks.contains { $0.hasEnded && $0.report.wasTold != 0 && $0.report.signal != 0 }
    let leavers = ranks.filter { $0.hasEnded && $0.report.wasTold == 0 && $0.outcome == .none }
    guard isEnded, leavers.count == 1, leavers[0].report.status == 0, leavers[0].report.signal == 0 else { return nil }
    return leavers[0]
  }

  /// The rank that the job failed by: the first that failed by itself, not one that was ended because of another.
  var culprit: Rank? {
    let failed = ranks.filter { rank in
      guard rank.hasEnded else { return false }
      return rank.report.status != 0 || rank.report.signal != 0 || (isRegistered && rank.outcome != .done)
    }.sorted { ($0.endOrder ?? 0) < ($1.endOrder ?? 0) }
    guard let first = failed.first(where: { $0.outcome == .failed || $0.report.wasTold == 0 }) else {
      return failed.first
    }
    guard first.outcome == .failed else { return first }
    // Of two on one host the one whose record says so first; it may have taken longer to leave.
    let beside = failed.filter { $0.outcome == .failed && $0.host == first.host }
    return beside.min { $0.report.state.changed < $1.report.state.changed }
  }
}

extension RankTable {
  /// Other ranks that failed by themselves too; empty where there are none.
  func others(than rank: Int?) -> String {
    guard let rank else { return "" }
    let others = ranks.filter {
      // Also where mpirun told it to end: it had failed before.
      $0.rank != rank && $0.hasEnded && $0.outcome == .failed && $0.report.state.isAgreed == 0
    }
    guard !others.isEmpty else { return "" }
    return "failed too: "
      + others.prefix(4).map { "\($0.label), status \($0.report.state.status)" }.joined(separator: "; ")
  }
}
