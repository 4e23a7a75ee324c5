import Glibc
import System

/// How a job has ended, and what is said about it.
extension SupervisedJob {
  mutating func verdict(_ end: ChildProcess.End) -> Verdict {
    // The ranks alone say how it went where mpirun hung after them.
    var verdict = Verdict(
      end: isOutlived ? .status(0) : end, fault: messages.fault, ranks: table, starter: supervisor.starter)
    if stopSignal == nil, let passedSignal, hasEnded(by: passedSignal, end) { stopSignal = passedSignal }
    if let stopSignal {
      // A job that was through before it took notice is a success. Of a program that got the signal itself nobody knows.
      var isThrough = verdict.status == 0 && !table.hasStopped
      if case .passedOn = stage, !table.isRegistered { isThrough = false }
      // One that could not save before it stopped has not done as it was asked.
      let hasNotSaved =
        [ExitStatus.ioError, .cannotCreate].contains { $0.rawValue == verdict.status } && !table.hasStopped
      if isThrough || hasNotSaved { return verdict }
      verdict = Verdict(status: 128 + stopSignal)
      verdict.isUsersWish = true
      return verdict
    }
    if verdict.status == 0, table.hasStopped {
      let step = table.step.map { " after step \($0)" } ?? ""
      verdict = Verdict(
        status: 128 + table.stopSignal,
        message:
          "the ranks have stopped\(step), as a signal to \(supervisor.starter.rawValue), an agent or a rank asked them to"
      )
      verdict.isUsersWish = true
    } else if verdict.status != 0, verdict.message == nil, verdict.rank == nil, stall == nil {
      explain(&verdict, end)
    }
    if let failure = output.failure { verdict = Verdict(failure.status, failure.description) }
    if let stall {
      verdict = Verdict(stall.status, stall.message)
    }
    if verdict.status != 0, stall == nil { explain(&verdict, end, by: ResourceLimit.near(since: refusals)) }
    if verdict.status != 0 { output.log(collectives: stall == nil ? table.rings() : ringsAtStall) }
    guard verdict.status != 0, let message = verdict.message else { return verdict }
    if let rank = verdict.rank, output.lastRank != rank {
      let lines = output.lastLines(of: rank)
      if !lines.isEmpty { say("the last lines of rank \(rank):") }
      for line in lines { say("  " + line) }
    }
    let others = table.others(than: verdict.rank)
    if !others.isEmpty { say(others) }
    let cause = table.hasJoined ? "" : supervisor.shortage.map { "; \($0)" } ?? ""
    verdict.message =
      "\(message)\(cause); \(presentTime("%H:%M:%S")), \(formatted((clock.now - begin) / .seconds(1), digits: 1)) s after the start"
    return verdict
  }

  /// Whether mpirun, an agent or a rank was ended by a signal that was passed on, as they are before they listen for it: what
  /// whoever sent it wanted of a job that starts.
  private func hasEnded(by signal: Int32, _ end: ChildProcess.End) -> Bool {
    end == .signal(signal) || messages.fault?.signal == signal
      || table.ranks.contains { $0.hasEnded && $0.report.signal == signal }
  }

  /// Words for an mpirun that ended without saying why, as it does when it is told to.
  private func explain(_ verdict: inout Verdict, _ end: ChildProcess.End) {
    // Of a rank that called MPI_Abort it has said so, and the rank why.
    guard messages.fault?.isAbort != true else { return }
    guard supervisor.starter != .launcher, case .running = stage, case .status(let status) = end,
      table.ranks.contains(where: { $0.heard != nil && (!$0.hasEnded || $0.report.wasTold != 0) })
    else { return }
    let starter = supervisor.starter.rawValue
    if hasMPISpoken {
      verdict.message = "\(starter) ended with status \(status), for the reason that it gives above"
    } else {
      verdict = Verdict(
        .lost,
        "\(starter) ended with status \(status) and ended the ranks: it was told to, by a signal that somebody sent it")
    }
  }

  /// An mpirun that crashed, or could not start the ranks, under a limit.
  private func explain(_ verdict: inout Verdict, _ end: ChildProcess.End, by limit: ResourceLimit?) {
    guard let limit else { return }
    if case .signal(let signal) = end, Verdict.isTrap(signal) {
      verdict.status = ExitStatus.internalError.rawValue
      verdict.explain(by: limit)
    } else if !table.hasAgents && limit.kind != .addressSpace {
      verdict = Verdict(.unavailable, "\(supervisor.starter.rawValue) did not start the ranks")
      verdict.explain(by: limit)
    }
  }

  /// Says what the user will not be shown. Not through the queue of an output, which may be full.
  func sayLosses() {
    for text in output.losses() { supervisor.say(text) }
  }

  /// Waits until the user has been shown everything; the signal that ended that, or nil.
  func drain(_ signals: SignalQueue) -> Int32? {
    output.drain(signals, patience: stopSignal == nil ? nil : .seconds(1))
  }
}
