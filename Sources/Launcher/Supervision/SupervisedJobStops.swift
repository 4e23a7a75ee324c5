import Glibc

/// What is done to a job while it runs: deadlines, signals and their passing on.
extension SupervisedJob {
  mutating func judge() {
    let now = clock.now
    wakeRanks(at: now)
    if let at = ringsAt, now > at {
      ringsAt = nil
      for line in table.rings(count: 8) { say(line) }
    }
    switch stage {
    // While ranks start, mpirun may lose what it is to pass on.
    case .running where passedSignal == SIGUSR1 && stopSignal == nil && table.acceptsStop:
      stop(SIGUSR1)
    case .running:
      if output.failure != nil || table.hasLivedOn(seconds: supervisor.failureSeconds, at: now) {
        tell()
      } else if table.hasEnded(seconds: supervisor.outliveSeconds, at: now) {
        say("\(supervisor.starter.rawValue) does not end though all ranks have; ending it")
        isOutlived = true
        tell()
      } else if let found = supervisor.watchdog?.stall(table, at: now) {
        stall = found
        ringsAtStall = table.rings()
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

  /// Kills mpirun. Agents then end their ranks and clean up, and what is left is swept away at the end.
  private mutating func killNow() {
    stage = .killed
    kill(child.pid, SIGKILL)
    // Slurm's helpers outlive srun.
    if supervisor.starter != .mpirun { _ = JobProcesses.kill(runID: supervisor.runID) }
  }

  mutating func handle(_ signal: Int32) {
    switch signal {
    case SIGINT where supervisor.debuggedRank != nil:
      let pid = supervisor.debuggedRank.map { table.ranks[$0].report.pid } ?? 0
      // The number came from the rank's agent; only a process of this job gets the signal.
      if JobProcesses.find(runID: supervisor.runID).contains(pid_t(truncatingIfNeeded: pid)) {
        kill(pid_t(truncatingIfNeeded: pid), SIGINT)
      }
    case SIGQUIT where supervisor.starter != .srun:
      // mpirun passes it on, and agents answer with their rings.
      kill(child.pid, SIGCONT)
      ringsAt = clock.now + .milliseconds(500)
    case SIGINT, SIGTERM, SIGHUP, SIGQUIT:
      stop(signal)
    case SIGTSTP:
      // The ranks are in another session, so the terminal's Ctrl-Z has to be done for them.
      let stopped = JobProcesses.find(runID: supervisor.runID)
      let began = clock.now
      for pid in stopped { kill(pid, SIGSTOP) }
      raise(SIGSTOP)
      for pid in stopped { kill(pid, SIGCONT) }
      restartClocks(after: clock.now - began, at: clock.now)
    case SIGUSR1 where table.acceptsStop:
      stop(signal)
    case SIGUSR1, SIGUSR2:
      passedSignal = signal
      kill(child.pid, signal)  // mpirun passes it to every rank.
    default: break  // SIGCHLD only wakes the loop.
    }
  }

  private mutating func stop(_ signal: Int32) {
    guard stopSignal == nil else {
      // A lone agent ends all that descends from its program, which may remove its temporary files first.
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
        for agent in JobProcesses.agents(runID: supervisor.runID) { kill(agent, SIGTERM) }
      }
      tell()
    }
  }
}
