import System

/// What the ranks of a job that was started again are told.
enum RestartVariable {
  /// The number of the restart: `finetune` continues from its newest checkpoint.
  static let number = "LOCKSTEP_RESTART"
  /// The ranks that the job began with: `finetune` keeps the rows of all ranks together the same.
  static let ranks = "LOCKSTEP_RESTART_RANKS"
  static let all = [number, ranks]
}

/// The hosts of a job that is started again: a host that was lost is left out, and taken back when it answers.
struct RestartHosts {
  /// What the next start runs on.
  private(set) var plan: LaunchPlan
  /// The names of the hosts that are left out.
  private(set) var lost: [String] = []
  private var whole: LaunchPlan
  private let leastRanks: Int

  /// - Parameters:
  ///   - whole: on all hosts.
  ///   - leastRanks: with fewer there is no start.
  init(_ whole: LaunchPlan, leastRanks: Int) {
    self.whole = whole
    self.leastRanks = leastRanks
    plan = whole
  }

  /// Leaves out a host. Nothing changes where it is not in the plan, or the only one.
  mutating func leaveOut(_ host: String) {
    lost.append(host)
    update()
  }

  /// Takes hosts back that were left out.
  mutating func takeBack(_ hosts: [String]) {
    lost.removeAll { hosts.contains($0) }
    update()
  }

  /// Gives the ranks further variables.
  mutating func export(_ names: [String]) {
    whole.exportedVariables += names.filter { !whole.exportedVariables.contains($0) }
    update()
  }

  private var rest: LaunchPlan? {
    lost.reduce(whole as LaunchPlan?) { plan, host in plan?.without(host: host) }
  }

  private mutating func update() {
    if let rest { plan = rest }
  }

  /// Why the job cannot start again on what is left; nil where it can.
  var refusal: String? {
    let ranks = rest?.ranks ?? 0
    guard ranks < max(1, leastRanks) else { return nil }
    return "without \(lost.joined(separator: ", ")) there is room for \(counted(ranks, "rank")), "
      + "expected at least \(max(1, leastRanks)) (--min_processes)"
  }
}
