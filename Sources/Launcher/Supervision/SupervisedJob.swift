import Glibc
import System

/// A running job, what is known of its ranks, and what was done to them: here what comes in. Signals and deadlines are in
/// SupervisedJobStops.swift, the end in SupervisedJobEnd.swift. What is said of mpirun goes for srun too, and for
/// the agent of a process that needs neither.
struct SupervisedJob {
  let child: ChildProcess
  let supervisor: Supervisor
  var output: JobOutput
  var messages = MPIMessages()
  private var frames = RankFrameReader()
  /// Whether mpirun can be reached from other hosts, though none has to.
  private var isReachable: Bool
  var table: RankTable
  var stall: Watchdog.Stall?
  /// The last collectives when that was found: mpirun lets stopped ranks run on before it ends them.
  var ringsAtStall: [String] = []
  /// Whether mpirun had to be ended though all ranks had ended.
  var isOutlived = false
  /// The signal that ended the job by the user's wish.
  var stopSignal: Int32?
  /// The last one that the ranks were to get through mpirun.
  var passedSignal: Int32?
  var stage = Stage.running
  /// Whether mpirun has said something of its own.
  var hasMPISpoken = false
  /// Whether the user was told how a program that does not use the library is watched.
  var isWatchExplained = false
  /// Processes that were refused before this job.
  let refusals = ResourceLimit.refusals()
  /// When the loop last ran.
  private var lastLook = ContinuousClock.now
  /// When ranks are continued once more after a pause.
  private var wakes: [ContinuousClock.Instant] = []
  /// When rings that were asked for are shown.
  var ringsAt: ContinuousClock.Instant?
  let clock = ContinuousClock()
  let begin = ContinuousClock.now

  enum Stage {
    case running
    /// A signal came before the agent of a lone process has told who that is.
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

  /// - Parameter sources: mpirun's messages, its standard output, and its standard error with the agents' frames; -1
  ///   once ended.
  mutating func watch(signals: SignalQueue, sources: inout [Int32]) -> ChildProcess.End {
    while true {
      var waits = (sources + [signals.descriptor]).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      _ = poll(&waits, nfds_t(waits.count), 200)
      noticePause()
      let hadNews = read(&sources)
      // Agents are started after it has begun to listen.
      if isReachable && table.hasAgents {
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
  /// The most that others are given to come back after this process.
  private static let longestReturn: Duration = .seconds(60)

  private mutating func noticePause() {
    let now = clock.now
    if now - lastLook > Self.pause { restartClocks(after: now - lastLook, at: now) }
    lastLook = now
  }

  /// - Parameter pause: how long this process was paused. Hosts are resumed one by one, so the ranks are given as long again.
  mutating func restartClocks(after pause: Duration, at now: ContinuousClock.Instant) {
    table.restartClocks(at: now, patience: min(pause, Self.longestReturn))
    wakes = [1, 2, 4].map { now + .seconds($0) }
    switch stage {
    case .asked: stage = .asked(now)
    case .told: stage = .told(now)
    case .unheard: stage = .unheard(now)
    case .running, .passedOn, .killed: break
    }
  }

  /// Continues ranks that a pause has left stopped. mpirun passes a SIGTSTP on to them, and may do so only once it runs
  /// again, after all have been continued; it passes SIGCONT on, too.
  mutating func wakeRanks(at now: ContinuousClock.Instant) {
    guard let next = wakes.first, now > next else { return }
    wakes.removeFirst()
    if supervisor.starter == .mpirun { kill(child.pid, SIGCONT) }
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

  mutating func say(_ text: String) {
    output.endLine()
    output.put(launcherLine(text), isError: true)
  }
}
