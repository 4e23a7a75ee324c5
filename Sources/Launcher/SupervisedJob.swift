import Glibc
import System

/// A running job, what is known of its ranks, and what was done to them. What is said of mpirun goes for srun too, and for
/// the keeper of a process that needs neither.
struct SupervisedJob {
  private let child: ChildProcess
  private let supervisor: Supervisor
  private var output: JobOutput
  private var messages = MPIMessages()
  private var frames = RankFrameReader()
  /// Whether mpirun can be reached from other hosts, though none has to.
  private var isReachable: Bool
  private var table: RankTable
  private var finding: Watchdog.Finding?
  /// The last collectives when that was found: mpirun lets stopped ranks run on before it ends them.
  private var ringsAtFinding: [String] = []
  /// Whether mpirun had to be ended though all ranks had ended.
  private var isOutlived = false
  /// The signal that ended the job by the user's wish.
  private var stopSignal: Int32?
  private var stage = Stage.running
  /// Whether mpirun has said something of its own.
  private var hasMPISpoken = false
  /// Whether the user was told how a program that does not use the library is watched.
  private var isWatchExplained = false
  /// Processes that were refused before this job.
  private let refusals = Limits.refusals()
  /// When the loop last ran.
  private var lastLook = ContinuousClock.now
  /// When rings that were asked for are shown.
  private var ringsAt: ContinuousClock.Instant?
  private let clock = ContinuousClock()
  private let begin = ContinuousClock.now

  private enum Stage {
    case running
    /// A signal came before the keeper of a lone process has told who that is.
    case unheard(ContinuousClock.Instant)
    /// The ranks were asked to stop by themselves.
    case asked(ContinuousClock.Instant)
    /// The program got the signal itself, and may take its time.
    case passedOn
    /// mpirun was told to end them.
    case told(ContinuousClock.Instant)
    case killed
  }

  init(child: ChildProcess, supervisor: Supervisor, output: JobOutput) {
    self.child = child
    self.supervisor = supervisor
    self.output = output
    isReachable = supervisor.starter == .mpirun && supervisor.isOnThisHostAlone
    table = RankTable(count: supervisor.ranks, hosts: supervisor.hosts, threadRanks: supervisor.threadRanks)
  }

  /// - Parameter sources: mpirun's messages, its standard output, and its standard error with the keepers' frames; -1
  ///   once ended.
  mutating func watch(signals: SignalQueue, sources: inout [Int32]) -> ChildProcess.End {
    while true {
      var waits = (sources + [signals.descriptor]).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      _ = poll(&waits, nfds_t(waits.count), 200)
      noticePause()
      let hadNews = read(&sources)
      // Keepers are started after it has begun to listen.
      if isReachable && table.isKept {
        isReachable = false
        LocalListeners.bind(of: child.pid)
      }
      while let signal = signals.next() { handle(signal) }
      if let end = child.end() {
        _ = read(&sources)
        output.finish()
        show(frames.finish())
        show(messages.finish())
        return end
      }
      output.tick()
      // Judged only when nothing waits to be read: this process may have been held up itself.
      if !hadNews { judge() }
    }
  }

  /// Longer than this loop takes, however busy the machine is: all was paused, by a freezer, a lid or a hypervisor. Nobody
  /// is late because of that.
  private static let pause: Duration = .seconds(3)

  private mutating func noticePause() {
    let now = clock.now
    if now - lastLook > Self.pause { restartClocks(at: now) }
    lastLook = now
  }

  private mutating func restartClocks(at now: ContinuousClock.Instant) {
    table.restartClocks(at: now)
    switch stage {
    case .asked: stage = .asked(now)
    case .told: stage = .told(now)
    case .unheard: stage = .unheard(now)
    case .running, .passedOn, .killed: break
    }
  }

  // MARK: What comes in.

  /// Reads what there is; true where there was a lot, and more may wait.
  private mutating func read(_ sources: inout [Int32]) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    var isMore = false
    for index in sources.indices where sources[index] >= 0 {
      var total = 0
      // Not without end: signals are to be seen, too.
      while total < 1 << 22 {
        let count = Glibc.read(sources[index], &buffer, buffer.count)
        if count > 0 {
          total += count
          take(buffer[..<count], index)
        } else if count < 0 && (errno == EAGAIN || errno == EINTR) {
          break
        } else {
          close(sources[index])
          sources[index] = -1
          break
        }
      }
      isMore = isMore || total >= 1 << 22
    }
    return isMore
  }

  private mutating func take(_ bytes: ArraySlice<UInt8>, _ source: Int) {
    switch source {
    case 0: show(messages.read(bytes))
    case 1: output.take(Array(bytes), rank: -1, host: nil, isError: false)
    default:
      for piece in frames.read(bytes) {
        switch piece {
        case .other(let bytes): showOther(bytes)
        case .frame(let frame):
          guard table.ranks.indices.contains(frame.rank) else { continue }
          let host = table.ranks[frame.rank].host
          switch frame.kind {
          case .output, .errors:
            output.take(frame.body, rank: frame.rank, host: host, isError: frame.kind == .errors)
          case .message: say(String(decoding: frame.body, as: UTF8.self).escapingControlCharacters)
          default: table.take(frame, at: clock.now)
          }
        }
      }
    }
  }

  /// mpirun's own words on its standard error, where that of Open MPI 5 explains ends of ranks too.
  private mutating func showOther(_ bytes: [UInt8]) {
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    let kept = lines.filter { !$0.starts(with: "mpirun: Forwarding signal".utf8) }
    show(messages.read(kept.joined(separator: [UInt8(ascii: "\n")])))
  }

  /// Shows what mpirun, a daemon or a remote shell says, which may be text of any host.
  private mutating func show(_ bytes: [UInt8]) {
    if bytes.isEmpty { return }
    hasMPISpoken = true
    let text = String(decoding: bytes.filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self).escapingAllButLines
    output.put(Array(text.utf8), isError: true)
  }

  private mutating func say(_ text: String) {
    output.endLine()
    output.put(launcherLine(text), isError: true)
  }

  // MARK: What is done.

  private mutating func judge() {
    let now = clock.now
    if let at = ringsAt, now > at {
      ringsAt = nil
      for line in table.rings(count: 8) { say(line) }
    }
    switch stage {
    case .running:
      if output.failure != nil || table.hasLivedOn(seconds: supervisor.failureSeconds, at: now) {
        tell()
      } else if table.hasEnded(seconds: supervisor.outliveSeconds, at: now) {
        say("\(supervisor.starter.rawValue) does not end though all ranks have; ending it")
        isOutlived = true
        tell()
      } else if let found = supervisor.watchdog?.finding(table, at: now) {
        finding = found
        ringsAtFinding = table.rings()
        say("the job stands still:")
        for line in found.details + table.rings(count: 4) { say("  " + line) }
        if found.isCutOff { killNow() } else { tell() }
      } else if !isWatchExplained, let note = supervisor.watchdog?.note(table, at: now) {
        isWatchExplained = true
        say(note)
      }
    case .asked(let since):
      let patience = max(5, 3 * (table.medianStepSeconds ?? 0))
      let moved = max(since, table.ranks.compactMap(\.progressed).max() ?? since)
      if now - since > .seconds(supervisor.stopSeconds) || now - moved > .seconds(patience) {
        say("the ranks do not stop by themselves; ending them")
        // Across a link that is cut mpirun would wait for them.
        if table.hasSilentRank(for: 4, at: now) { killNow() } else { tell() }
      }
    case .told(let since):
      if now - since > .seconds(supervisor.graceSeconds) {
        say("\(supervisor.starter.rawValue) did not end in \(Int(supervisor.graceSeconds)) s; killing the job")
        killNow()
      }
    case .unheard(let since):
      if let stopSignal, table.lonePID != nil || now - since > .seconds(2) { act(on: stopSignal) }
    case .passedOn, .killed: break
    }
  }

  /// Tells mpirun to end its ranks. Once: a second signal would make it leave without doing so.
  private mutating func tell() {
    stage = .told(clock.now)
    kill(child.pid, SIGTERM)
  }

  /// Kills mpirun. Keepers then end their ranks and clean up, and what is left is swept away at the end.
  private mutating func killNow() {
    stage = .killed
    kill(child.pid, SIGKILL)
    // Slurm's helpers outlive srun.
    if supervisor.starter != .mpirun { _ = JobProcesses.kill(runID: supervisor.runID) }
  }

  private mutating func handle(_ signal: Int32) {
    switch signal {
    case SIGINT where supervisor.debuggedRank != nil:
      let pid = supervisor.debuggedRank.map { table.ranks[$0].report.pid } ?? 0
      // The number came from the rank's keeper; only a process of this job gets the signal.
      if JobProcesses.find(runID: supervisor.runID).contains(pid_t(truncatingIfNeeded: pid)) {
        kill(pid_t(truncatingIfNeeded: pid), SIGINT)
      }
    case SIGQUIT where supervisor.starter != .srun:
      // mpirun passes it on, and keepers answer with their rings.
      kill(child.pid, SIGCONT)
      ringsAt = clock.now + .milliseconds(500)
    case SIGINT, SIGTERM, SIGHUP, SIGQUIT:
      stop(signal)
    case SIGTSTP:
      // The ranks are in another session, so the terminal's Ctrl-Z has to be done for them.
      let stopped = JobProcesses.find(runID: supervisor.runID)
      for pid in stopped { kill(pid, SIGSTOP) }
      raise(SIGSTOP)
      for pid in stopped { kill(pid, SIGCONT) }
      restartClocks(at: clock.now)
    case SIGUSR1 where table.acceptsStop:
      stop(signal)
    case SIGUSR1, SIGUSR2:
      kill(child.pid, signal)  // mpirun passes it to every rank.
    default: break  // SIGCHLD only wakes the loop.
    }
  }

  private mutating func stop(_ signal: Int32) {
    guard stopSignal == nil else {
      // A lone keeper ends all that descends from its program, which may remove its temporary files first.
      switch stage {
      case .passedOn: tell()
      case .asked where supervisor.starter == .launcher: tell()
      default: killNow()
      }
      return
    }
    stopSignal = signal
    guard case .running = stage else { return }
    if supervisor.starter == .launcher, table.lonePID == nil {
      stage = .unheard(clock.now)
    } else {
      act(on: signal)
    }
  }

  /// Does what the user wants to be done with the ranks.
  private mutating func act(on signal: Int32) {
    if table.acceptsStop {
      say("\(signalName(signal)): the ranks stop after the step that they are in; once more ends them at once")
      stage = .asked(clock.now)
      kill(child.pid, SIGUSR1)
    } else if let pid = table.lonePID, supervisor.starter == .launcher {
      say("\(signalName(signal)): passed on to the program; once more ends it")
      stage = .passedOn
      kill(pid, signal)
    } else {
      say("\(signalName(signal)): ending the ranks; once more ends them at once")
      // Told by mpirun they hear of it a second later, for it lets them go on first, and another passes until it looks again.
      if supervisor.starter == .mpirun {
        for keeper in JobProcesses.keepers(runID: supervisor.runID) { kill(keeper, SIGTERM) }
      }
      tell()
    }
  }

  // MARK: The end.

  mutating func verdict(_ end: ChildProcess.End) -> Verdict {
    // The ranks alone say how it went where mpirun hung after them.
    var verdict = Verdict(
      end: isOutlived ? .status(0) : end, fault: messages.fault, ranks: table, starter: supervisor.starter)
    if let stopSignal {
      // A job that was through before it took notice is a success. Of a program that got the signal itself nobody knows.
      var isThrough = verdict.status == 0 && !table.hasStopped
      if case .passedOn = stage, !table.isRegistered { isThrough = false }
      if isThrough { return verdict }
      verdict = Verdict(status: 128 + stopSignal)
      verdict.isUsersWish = true
      return verdict
    }
    if verdict.status == 0, table.hasStopped {
      let step = table.step.map { " after step \($0)" } ?? ""
      verdict = Verdict(
        status: 128 + SIGUSR1,
        message:
          "the ranks have stopped\(step), as a signal to \(supervisor.starter.rawValue) or a keeper asked them to")
      verdict.isUsersWish = true
    } else if verdict.status != 0, verdict.message == nil, verdict.rank == nil, finding == nil {
      explain(&verdict, end)
    }
    if let failure = output.failure { verdict = Verdict(failure.status, failure.description) }
    if let finding {
      verdict = Verdict(finding.status, finding.message)
    }
    if verdict.status != 0, finding == nil { explain(&verdict, end, by: Limits.near(since: refusals)) }
    if verdict.status != 0, let folder = supervisor.output.folder {
      let text = (finding == nil ? table.rings() : ringsAtFinding).map { $0 + "\n" }.joined()
      let path = "\(folder)/\(JobOutput.collectives)"
      if JobOutput.objection(path) == nil { try? writeAtomically(Array(text.utf8), to: path) }
    }
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
      "\(message)\(cause); \(timeOfDay()), \(tenths((clock.now - begin) / .seconds(1))) s after the start"
    return verdict
  }

  /// Words for an mpirun that ended without saying why, as it does when it is told to.
  private func explain(_ verdict: inout Verdict, _ end: ChildProcess.End) {
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
  private func explain(_ verdict: inout Verdict, _ end: ChildProcess.End, by limit: Limits?) {
    guard let limit else { return }
    if case .signal(let signal) = end, Verdict.isTrap(signal) {
      verdict.status = ExitStatus.internalError.rawValue
      verdict.explain(by: limit)
    } else if !table.isKept && limit.kind != .addressSpace {
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

  /// `14:02:11`.
  private func timeOfDay() -> String {
    var now = time(nil)
    var parts = tm()
    localtime_r(&now, &parts)
    return [parts.tm_hour, parts.tm_min, parts.tm_sec].map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
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
