import FlightRecorder
import System

/// Finds out that a job stands still, and why: who waits where, and who is missing.
public struct Watchdog: Sendable {
  /// Seconds without any progress; nil for ten median steps, 30 at least.
  public var timeoutSeconds: Double?

  /// Whether the only rank waits for nobody.
  public var isAlone = false

  public init(timeoutSeconds: Double? = nil, isAlone: Bool = false) {
    self.timeoutSeconds = timeoutSeconds
    self.isAlone = isAlone
  }

  /// A rank that computes, reads or writes outside of collectives counts as alive for so many timeouts.
  private static let busyFactor = 20.0
  /// The least that ranks are given to find one another.
  private static let startSeconds = 30.0
  /// How long mpirun may take to notice that a rank has ended; one that ends with status 0 before MPI it overlooks.
  private static let endSeconds = 3.0

  package struct Stall: Equatable, Sendable {
    package var status: ExitStatus
    /// What stands in the error.
    package var message: String
    /// A line for each rank that matters.
    package var details: [String]
    /// Whether ranks cannot be reached: mpirun would wait for them.
    package var isCutOff = false
  }

  func seconds(_ table: RankTable) -> Double { timeoutSeconds ?? max(30, 10 * (table.medianStepSeconds ?? 0)) }

  /// Nil while all is well.
  package func stall(_ table: RankTable, at now: ContinuousClock.Instant) -> Stall? {
    let live = table.ranks.filter { !$0.hasEnded }
    guard !live.isEmpty else { return nil }
    let hasBegun = table.ranks.contains { $0.phase == .joined }
    let limit = hasBegun ? seconds(table) : max(seconds(table), Self.startSeconds)
    func age(_ instant: ContinuousClock.Instant?) -> Double {
      instant.map { ($0.duration(to: now)) / .seconds(1) } ?? .infinity
    }
    // Not even their agents: mpirun does not get through to their hosts, and would wait for ever.
    let unheard = live.filter { $0.heard == nil }
    if !unheard.isEmpty && age(table.began) > limit {
      return Stall(
        status: .lost,
        message: "\(list(unheard)): did not start within \(Int(limit)) s; a host may not reach this one",
        details: details(table, now), isCutOff: true)
    }
    guard table.isRegistered && !isAlone else { return idleness(table, live, limit: timeoutSeconds, now) }
    let gone = table.ranks.first {
      $0.hasEnded && $0.outcome == .none && $0.report.status == 0 && $0.report.signal == 0
        && age($0.ended) > Self.endSeconds
    }
    if let gone {
      return Stall(
        status: .lost, message: "\(gone.label): \(gone.earlyEnd)",
        details: details(table, now))
    }
    let text = "for \(Int(limit)) s"
    let silent = live.filter { $0.heard != nil && age($0.heard) > limit }
    if let first = silent.first {
      return Stall(
        status: .lost, message: "\(list(silent)): no sign of life \(text)\(lastSeen(first)); its host may be cut off",
        details: details(table, now), isCutOff: true)
    }
    let progressed = table.ranks.compactMap(\.progressed).max()
    guard age(progressed) > limit else { return nil }
    let isBusy = live.contains { !$0.isWaiting && age($0.busy) <= limit }
    if isBusy && age(progressed) <= Self.busyFactor * limit { return nil }
    let stopped = live.filter(\.report.isStopped)
    let waiting = live.filter(\.isWaiting)
    guard !stopped.isEmpty || !waiting.isEmpty else { return nil }
    // Each must have said so after the limit: of whom nothing comes any more may be cut off, and is named as such above.
    guard live.allSatisfy({ age($0.heard) <= age(progressed) - limit }) else { return nil }
    let (status, message) = judge(live, stopped: stopped, waiting: waiting)
    return Stall(status: status, message: "\(message); no progress \(text)", details: details(table, now))
  }

  /// Of programs that do not use the library, and of one that waits for nobody, only the use of the CPU, of files and of
  /// pipes tells; and only where the user has said how long they may rest.
  private func idleness(
    _ table: RankTable, _ live: [RankTable.Rank], limit: Double?, _ now: ContinuousClock.Instant
  ) -> Stall? {
    guard let limit else { return nil }
    let signs = live.flatMap { [$0.busy, $0.progressed] }.compactMap { $0 }
    guard let last = signs.max(), (now - last) / .seconds(1) > limit,
      // Each must have been seen at rest after the limit.
      live.allSatisfy({ rank in rank.heard.map { ($0 - last) / .seconds(1) >= limit } ?? false })
    else { return nil }
    return Stall(
      status: .lost, message: "\(list(live)): computed, read and wrote nothing for \(Int(limit)) s",
      details: live.prefix(16).map { "\($0.label): \($0.report.isStopped ? "is stopped (state T)" : "rests")" })
  }

  /// What the user is told once of how a program that does not use the library is watched; nil where there is nothing to
  /// tell, or it is too early.
  func note(_ table: RankTable, at now: ContinuousClock.Instant) -> String? {
    guard let timeoutSeconds, !isAlone, !table.isRegistered, table.ranks.allSatisfy({ $0.heard != nil }),
      (now - table.began) / .seconds(1) > timeoutSeconds
    else { return nil }
    return "note: the program does not use the library: --stall_timeout watches whether it computes, reads or writes, "
      + "as ranks of MPI do also while they wait"
  }

  private func judge(
    _ live: [RankTable.Rank], stopped: [RankTable.Rank], waiting: [RankTable.Rank]
  ) -> (ExitStatus, String) {
    let inCollective = waiting.filter { $0.phase == .joined }
    let place = inCollective.first { !$0.report.isStopped }.map {
      " in call \($0.report.state.sequence), \($0.report.last.text)"
    }
    let wait = place.map { ", and \(waiters(inCollective.count { !$0.report.isStopped }))\($0)" } ?? ""
    if let first = stopped.first {
      return (.lost, "\(list(stopped)): stopped (state T)\(lastSeen(first))\(wait)")
    }
    let absent = live.filter { $0.phase == .unknown }
    if !absent.isEmpty {
      return (.lost, "\(list(absent)): did not start, while \(waiters(live.count - absent.count)) for it")
    }
    if waiting.count == live.count && inCollective.isEmpty {
      return (.lost, "\(list(live)): MPI does not come up; the hosts may not reach one another")
    }
    let missing = live.filter { !$0.isWaiting }
    if let first = missing.first {
      return (.lost, "\(list(missing)): not in the collective\(lastSeen(first))\(wait)")
    }
    // All wait. In one and the same collective, or not?
    let calls = inCollective.map { "\($0.report.state.sequence) \($0.report.last.call.map { "\($0)" } ?? "")" }
    var counts: [String: Int] = [:]
    for call in calls { counts[call, default: 0] += 1 }
    guard counts.count > 1 else {
      return (.lost, "\(list(inCollective)): all wait\(place ?? ""): nothing moves between them")
    }
    let most = counts.values.max() ?? 0
    let usual = calls.firstIndex { counts[$0] == most } ?? 0
    let odd = zip(inCollective, calls).filter { $0.1 != calls[usual] }.map(\.0)
    let there = odd.first.map { "call \($0.report.state.sequence), \($0.report.last.text)" } ?? ""
    let usually = inCollective[usual].report
    return (
      .disagreement,
      "\(list(odd)): at \(there); \(odd.count + 1 == live.count ? "rank \(inCollective[usual].rank)" : "the others") "
        + "at call \(usually.state.sequence), \(usually.last.text)"
    )
  }

  /// Where a rank was when it was last heard.
  private func lastSeen(_ rank: RankTable.Rank) -> String {
    let step = rank.report.state.step >= 0 ? " after step \(rank.report.state.step)" : ""
    guard rank.report.state.sequence > 0 else { return step.isEmpty ? "" : ", last seen\(step)" }
    let place = "call \(rank.report.state.sequence), \(rank.report.last.text)"
    return ", last seen \(rank.report.isInside ? "in" : "leaving") \(place)\(step)"
  }

  private func details(_ table: RankTable, _ now: ContinuousClock.Instant) -> [String] {
    // Of very many ranks the first of each kind will do.
    let most = 16
    let lines = table.ranks.map { rank in
      let state =
        rank.hasEnded
        ? "has ended"
        : rank.report.isStopped
          ? "is stopped (state T)"
          : rank.phase == .unknown
            ? "has not started" : rank.phase == .starting ? "waits for MPI to come up" : position(rank)
      return "\(rank.label): \(state)"
    }
    return lines.count <= most ? lines : lines[..<most] + ["and \(lines.count - most) more"]
  }

  private func position(_ rank: RankTable.Rank) -> String {
    let idle = formatted(Double(rank.report.idle) / 1e9, digits: 1)
    let place = "call \(rank.report.state.sequence), \(rank.report.last.text)"
    let step = rank.report.state.step >= 0 ? ", step \(rank.report.state.step) done" : ""
    if rank.report.isInside { return "waits in \(place), since \(idle) s\(step)" }
    return rank.report.state.sequence == 0 ? "has called nothing" : "left \(place), \(idle) s ago\(step)"
  }

  private func list(_ ranks: [RankTable.Rank]) -> String {
    let shown = ranks.prefix(4).map(\.label).joined(separator: ", ")
    return ranks.count > 4 ? "\(shown) and \(ranks.count - 4) more" : shown
  }

  private func waiters(_ count: Int) -> String { count == 1 ? "1 rank waits" : "\(count) ranks wait" }
}

extension RankTable.Rank {
  /// Whether it waits for others: in a collective, or for MPI to come up.
  var isWaiting: Bool { phase == .starting || (phase == .joined && report.isInside) }
}
