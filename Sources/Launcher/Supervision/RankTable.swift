import FlightRecorder
import Glibc
import System

/// What the launcher knows of each rank.
package struct RankTable: Sendable {
  package struct Rank: Sendable {
    package var rank: Int
    /// How many ranks it is, as threads of one process.
    package var threadRanks = 1
    package var host: String?
    var report = RankReport()
    /// When its agent was last heard; nil before.
    var heard: ContinuousClock.Instant?
    /// When its record last grew.
    var progressed: ContinuousClock.Instant?
    /// When it was last seen computing, reading or writing outside of collectives.
    var busy: ContinuousClock.Instant?
    var ring: [FlightRecorder.Entry] = []
    /// Its place among those that have ended, from 0.
    var endOrder: Int?
    var ended: ContinuousClock.Instant?

    var hasEnded: Bool { endOrder != nil }
    var phase: FlightRecorder.Phase { report.state.knownPhase }
    var outcome: FlightRecorder.Outcome { report.state.knownOutcome }

    /// `rank 1 (host b, pid 4711)`, or `ranks 0 to 3 (host b, pid 4711)` of one process.
    package var label: String {
      let facts = (host.map { ["host \($0)"] } ?? []) + (report.pid > 0 ? ["pid \(report.pid)"] : [])
      return (threadRanks > 1 ? "ranks 0 to \(threadRanks - 1)" : "rank \(rank)")
        + (facts.isEmpty ? "" : " (\(facts.joined(separator: ", ")))")
    }
  }

  package private(set) var ranks: [Rank]
  private var ended = 0
  /// Seconds of the last steps, and when the last one was seen.
  private var stepSeconds: [Double] = []
  private var lastStep: (step: Int64, at: ContinuousClock.Instant)?

  /// When the job was started.
  private(set) var began = ContinuousClock.now

  /// - Parameter hosts: of each rank, as far as the plan says; agents say how their hosts call themselves.
  package init(count: Int, hosts: [String] = [], threadRanks: Int = 1) {
    ranks = (0..<count).map { rank in
      Rank(rank: rank, threadRanks: threadRanks, host: hosts.indices.contains(rank) ? hosts[rank] : nil)
    }
  }

  /// The process of a job that has no other, while it runs.
  var lonePID: pid_t? {
    guard ranks.count == 1, !ranks[0].hasEnded, ranks[0].report.pid > 0 else { return nil }
    return pid_t(truncatingIfNeeded: ranks[0].report.pid)
  }

  /// Whether any rank uses the library: then all must end with a record that they are done.
  var isRegistered: Bool { ranks.contains { $0.phase != .unknown } }
  /// Whether any rank has found the others.
  var hasJoined: Bool { ranks.contains { $0.phase == .joined } }
  /// Whether agents have been heard at all.
  var hasAgents: Bool { ranks.contains { $0.heard != nil } }
  /// Whether every rank asks at each step whether it is to stop.
  var acceptsStop: Bool { ranks.allSatisfy { $0.report.state.acceptsStop != 0 && !$0.hasEnded } }
  /// Whether nothing was heard of a rank for `seconds`.
  func hasSilentRank(for seconds: Double, at now: ContinuousClock.Instant) -> Bool {
    ranks.contains { rank in !rank.hasEnded && rank.heard.map { now - $0 > .seconds(seconds) } ?? true }
  }

  var hasStopped: Bool { ranks.contains { $0.report.state.hasStopped != 0 } }
  /// The signal that made a rank stop; SIGUSR1 where it was its agent's.
  var stopSignal: Int32 {
    let own = ranks.lazy.map(\.report.state.hasStopped).first { [Int64(SIGTERM), Int64(SIGINT)].contains($0) }
    return own.map { Int32($0) } ?? SIGUSR1
  }
  /// The furthest step that a rank has finished.
  var step: Int64? { ranks.map(\.report.state.step).max().flatMap { $0 >= 0 ? $0 : nil } }
  var medianStepSeconds: Double? {
    stepSeconds.isEmpty ? nil : stepSeconds.sorted()[stepSeconds.count / 2]
  }

  /// Takes a frame that is not output.
  package mutating func take(_ frame: RankFrame, at now: ContinuousClock.Instant) {
    guard ranks.indices.contains(frame.rank) else { return }
    let index = frame.rank
    ranks[index].heard = now
    switch frame.kind {
    case .start:
      // What is no name stays unsaid: it stands in front of lines of output.
      let name = String(decoding: frame.body, as: UTF8.self)
      if name.utf8.count <= 253, !name.isEmpty { ranks[index].host = name.escapingControlCharacters }
      ranks[index].progressed = now
    case .report, .end:
      guard let report = RankReport(frame.body) else { return }
      let before = ranks[index].report
      if report.state.progress != before.state.progress { ranks[index].progressed = now }
      let isWaiting = report.isInside || report.state.knownPhase == .starting
      if report.activity != before.activity && !isWaiting { ranks[index].busy = now }
      noteStep(report.state.step, now)
      ranks[index].report = report
      if frame.kind == .end {
        ranks[index].endOrder = ended
        ranks[index].ended = now
        ended += 1
      }
    case .entry:
      guard frame.body.count == MemoryLayout<FlightRecorder.Entry>.size else { return }
      let entry = frame.body.withUnsafeBytes { $0.loadUnaligned(as: FlightRecorder.Entry.self) }.clamped
      ranks[index].ring.removeAll { $0.sequence == entry.sequence }
      ranks[index].ring.append(entry)
      if ranks[index].ring.count > FlightRecorder.ringCount { ranks[index].ring.removeFirst() }
    default: break
    }
  }

  private mutating func noteStep(_ step: Int64, _ now: ContinuousClock.Instant) {
    guard step >= 0 else { return }
    guard let last = lastStep else {
      lastStep = (step, now)
      return
    }
    guard step > last.step else { return }
    stepSeconds.append((now - last.at) / .seconds(1) / Double(step - last.step))
    if stepSeconds.count > 31 { stepSeconds.removeFirst() }
    lastStep = (step, now)
  }

  /// After a pause of the launcher itself, such as Ctrl-Z: nobody is late because of it.
  ///
  /// - Parameter patience: how long ranks are given to be heard again before their clocks run.
  mutating func restartClocks(at now: ContinuousClock.Instant, patience: Duration) {
    for index in ranks.indices {
      if ranks[index].heard != nil { ranks[index].heard = now + patience }
      if ranks[index].progressed != nil { ranks[index].progressed = now + patience }
      if ranks[index].busy != nil { ranks[index].busy = now + patience }
      if ranks[index].ended != nil { ranks[index].ended = now }
    }
    lastStep?.at = now
    began = now + patience
  }

  /// The last collectives of each rank, a line each, of each rank at most `count`.
  package func rings(count: Int = FlightRecorder.ringCount) -> [String] {
    ranks.flatMap { rank -> [String] in
      let entries = rank.ring.sorted { $0.sequence < $1.sequence }.suffix(count)
      guard !entries.isEmpty else { return [] }
      let now = entries.map { max($0.entered, $0.left) }.max() ?? 0
      return ["\(rank.label): its last \(entries.count) collectives"]
        + entries.map { entry in
          let ago = formatted(Double(now - entry.entered) / 1e9, digits: 1)
          let time = entry.left == 0 ? "still inside" : "\((entry.left - entry.entered) / 1000) us"
          return "  call \(entry.sequence)\(entry.step >= 0 ? ", step \(entry.step)" : ""): \(entry.text), "
            + "entered \(ago) s before, \(time)"
        }
    }
  }
}
