import CProcess
import FlightRecorder
import Glibc
import System

/// The launcher's binary as the parent of one rank, on the rank's host: mpirun starts it in the program's place.
///
/// It starts the program, sends what that writes and how it fares to the launcher, tells a rank that is to stop, and
/// leaves no process of it behind: what the rank's descendants leave becomes the agent's own child.
public struct RankAgent {
  private let rank: Int
  private let record: FlightRecorder
  private let child: ChildProcess
  private let signals: SignalQueue
  /// Where frames go.
  private let launcher: Int32
  /// What the rank writes: standard output and standard error; -1 once at its end.
  private var sources: [(kind: RankFrame.Kind, descriptor: Int32)] = []
  private let interval: Int64
  private var memory: MemoryKills
  private let refusals = ResourceLimit.refusals()
  private let parent = getppid()
  private let environment: Environment
  private var wasTold = false
  /// Whether the launcher has been told that the rank ends after a step where it is asked to.
  private var saidAcceptsStop = false
  /// How often an agent looks whether its rank has come to accept a stop. A signal before the launcher knows ends the rank at
  /// once, with nothing saved.
  private static let acceptanceLookNanoseconds: Int64 = 50_000_000
  /// The progress at which the ring was last sent.
  private var ringSentAt: Int64 = 0
  /// When those that are left are killed, in nanoseconds.
  private var deadline: Int64?
  private var end: ChildProcess.End?

  /// Of a source, between two looks at signals and the clock.
  private static let mostReads = 64
  /// The rank's file of memory; a number out of the way of what the process has open.
  private static let recordDescriptor: Int32 = 60

  /// - Parameter environment: this process's own.
  init(
    _ command: [[UInt8]], interval: Int, route: Route, debugger: Debugger?, _ environment: Environment
  ) throws(Failure) {
    self.environment = environment
    var environment = environment
    // Slurm's own last: a batch script has it, too.
    let names = route == .errors ? ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"] : []
    let number = names.lazy.compactMap { environment[$0] }.first.flatMap { Int($0) }
    rank = number.flatMap { 0..<LaunchPlan.mostRanks ~= $0 ? $0 : nil } ?? 0
    launcher = route == .errors ? STDERR_FILENO : Supervisor.messagesDescriptor
    if route != .errors { _ = fcntl(launcher, F_SETFD, FD_CLOEXEC) }
    self.interval = Int64(interval) * 1_000_000
    // mpirun dies: the rank must not outlive it.
    guard lockstep_signal_on_parent_death(SIGTERM) == 0, lockstep_adopt_orphans() == 0 else {
      throw Failure(.unavailable, "prctl failed: \(lastSystemError())")
    }
    signal(SIGPIPE, SIG_IGN)
    signals = try SignalQueue([SIGCHLD, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT])
    let file = lockstep_memory_file("lockstep-record")
    guard file >= 0, let record = FlightRecorder(descriptor: file, isNew: true) else {
      throw Failure(.unavailable, "no memory for the record of rank \(rank): \(lastSystemError())")
    }
    self.record = record
    environment[FlightRecorder.variable] = "\(Self.recordDescriptor)"

    var descriptors = [(from: file, to: Self.recordDescriptor)]
    var writers: [Int32] = [file]
    var words = command
    if let debugger, debugger.rank == rank {
      words = debugger.words.map { Array($0.utf8) } + command
      let terminal = debugger.terminal.isEmpty ? -1 : open(debugger.terminal, O_RDWR | O_CLOEXEC | O_NOCTTY)
      if terminal >= 0 {
        descriptors += (0...2).map { (terminal, $0) }
        writers.append(terminal)
      }
    }
    if descriptors.count == 1 && route != .direct {
      var slave: Int32 = -1
      // As under mpirun itself: programs write whole lines to a terminal, but blocks to a pipe.
      let master = lockstep_open_terminal(&slave)
      let pipe = master < 0 ? try Pipe() : nil
      let output = (read: pipe?.read ?? master, write: pipe?.write ?? slave)
      let errors = try Pipe()
      descriptors += [(output.write, 1), (errors.write, 2)]
      writers += [output.write, errors.write]
      sources = [(.output, output.read), (.errors, errors.read)]
    }
    child = try ChildProcess(
      path: String(decoding: words[0], as: UTF8.self), arguments: words, environment: environment,
      descriptors: descriptors, inNewSession: false)
    for writer in writers { close(writer) }
    for source in sources { _ = fcntl(source.descriptor, F_SETFL, O_NONBLOCK) }
    memory = MemoryKills(of: child.pid)
  }

  /// Runs the rank to its end; the status to exit with.
  mutating func run() -> Int32 {
    let host = systemText("/proc/sys/kernel/hostname") ?? ""
    send([RankFrame(.start, rank: rank, Array(host.utf8))])
    var next = monotonicNanoseconds()
    while true {
      let now = monotonicNanoseconds()
      if now >= next || !saidAcceptsStop && record.state.acceptsStop != 0 {
        let report = report()
        saidAcceptsStop = report.state.acceptsStop != 0
        send([RankFrame(.report, rank: rank, report.bytes)])
        // A rank that stands still for long: what it did before is of interest.
        if report.idle > 1_500_000_000, report.state.progress != ringSentAt {
          ringSentAt = report.state.progress
          send(ring)
        }
        next = now + interval
      }
      var waits = sources.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
      waits.append(pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0))
      let until = min(next, deadline ?? next)
      let longest = saidAcceptsStop ? interval : min(interval, Self.acceptanceLookNanoseconds)
      _ = poll(&waits, nfds_t(waits.count), Int32(max(0, min(until - now, longest)) / 1_000_000) + 1)
      while let signal = signals.next() { handle(signal) }
      forward(most: Self.mostReads)
      let isAlone = reap()
      if let deadline, monotonicNanoseconds() >= deadline { killChildren() }
      if let end, isAlone {
        forward()
        if isOrphaned && launcher == STDERR_FILENO { remains.remove(from: JobRemains.Places(environment)) }
        switch end {
        case .status(let status): return status
        case .signal(let signal): return 128 + signal
        }
      }
    }
  }

  /// Whether mpirun is gone. A rank that lost its connection to it may have ended a moment before the system says so, and
  /// the signal of its death comes with that of its first thread.
  private var isOrphaned: Bool {
    if wasTold || end != .status(0) {
      for _ in 0..<20 where parent == getppid() { usleep(5_000) }
    }
    return parent != getppid()
  }

  /// What mpirun, or its daemon on this host, leaves where it is killed.
  private var remains: JobRemains {
    let job = environment["OMPI_MCA_ess_base_jobid"].flatMap { UInt32($0) }
    return JobRemains(holder: parent, family: job.map { UInt16($0 >> 16) })
  }

  private mutating func handle(_ signal: Int32) {
    switch signal {
    case SIGTERM:
      wasTold = true
      // Its number may be another's once it is reaped.
      if end == nil { kill(child.pid, SIGTERM) }
      // mpirun kills this process itself one second later.
      deadline = deadline ?? monotonicNanoseconds() + 600_000_000
    case SIGUSR1:
      record.requestStop()
    case SIGCONT:
      send([RankFrame(.report, rank: rank, report().bytes)] + ring)
    default: break  // SIGUSR2 is the rank's own, SIGCHLD only wakes the loop.
    }
  }

  private var ring: [RankFrame] {
    record.entries.map { entry in RankFrame(.entry, rank: rank, withUnsafeBytes(of: entry.clamped) { Array($0) }) }
  }

  /// Takes note of processes that have ended; true once none is left.
  private mutating func reap() -> Bool {
    while true {
      var status: Int32 = 0
      let pid = waitpid(-1, &status, WNOHANG)
      if pid == child.pid {
        let end = ChildProcess.End(waitStatus: status)
        self.end = end
        // First what it wrote last, then how it ended. What it left behind may go on writing.
        forward(most: Self.mostReads)
        send(ring + [RankFrame(.end, rank: rank, report().bytes)])
        // A `tee` behind the rank may still have to finish its work.
        deadline = min(deadline ?? .max, monotonicNanoseconds() + 500_000_000)
      } else if pid < 0 && errno != EINTR {
        return true
      } else if pid == 0 {
        return false
      }
    }
  }

  /// Kills every child; what those leave behind becomes a child in turn.
  private func killChildren() {
    let text = systemText("/proc/self/task/\(getpid())/children") ?? ""
    for pid in text.split(separator: " ").compactMap({ pid_t($0) }) { kill(pid, SIGKILL) }
    usleep(2_000)
  }

  /// Sends on what the rank has written, until there is no more.
  ///
  /// - Parameter most: reads of each source; a rank that never pauses must not keep the agent from its other duties.
  private mutating func forward(most: Int = .max) {
    var buffer = [UInt8](repeating: 0, count: RankFrame.mostAtOnce * RankFrame.bodyBytes)
    for index in sources.indices {
      var reads = 0
      while sources[index].descriptor >= 0, reads < most {
        reads += 1
        let count = read(sources[index].descriptor, &buffer, buffer.count)
        if count > 0 {
          let frames = stride(from: 0, to: count, by: RankFrame.bodyBytes).map { start in
            let part = buffer[start..<min(start + RankFrame.bodyBytes, count)]
            return RankFrame(sources[index].kind, rank: rank, Array(part))
          }
          send(frames)
        } else if count < 0 && (errno == EAGAIN || errno == EINTR) {
          break
        } else {
          // The end; of a terminal it is EIO.
          close(sources[index].descriptor)
          sources[index].descriptor = -1
        }
      }
    }
  }

  private mutating func report() -> RankReport {
    var report = RankReport()
    // One copy, for the rank may write while this looks, and then only numbers that can be.
    report.state = record.state.clamped
    report.last = record.last(of: report.state)?.clamped ?? FlightRecorder.Entry()
    report.idle = report.state.changed == 0 ? 0 : max(0, monotonicNanoseconds() - report.state.changed)
    let told = pid_t(truncatingIfNeeded: report.state.pid)
    let pid = told != child.pid && JobProcesses.descends(told, from: getpid()) ? told : child.pid
    report.pid = Int64(pid)
    let isRegistered = report.state.knownPhase != .unknown
    let process = isRegistered ? JobProcesses.activity(of: pid) : JobProcesses.activityOfTree(of: child.pid)
    report.letter = Int64(process?.letter ?? 0)
    report.activity = process?.activity ?? 0
    report.wasTold = wasTold ? 1 : 0
    report.memoryKills = memory.count(of: pid)
    if let end {
      report.hasEnded = 1
      switch end {
      case .status(let status): report.status = Int64(status)
      case .signal(let signal): report.signal = Int64(signal)
      }
      if end != .status(0), let limit = ResourceLimit.near(since: refusals) {
        (report.limit, report.limitValue) = (limit.kind.rawValue, limit.value)
      }
    }
    return report
  }

  /// Writes frames, so many at once that the pipe keeps each write whole.
  private func send(_ frames: [RankFrame]) {
    var rest = frames.flatMap(\.bytes)[...]
    while !rest.isEmpty {
      let bytes = Array(rest.prefix(RankFrame.mostAtOnce * RankFrame.byteCount))
      rest = rest.dropFirst(bytes.count)
      while true {
        let count = bytes.withUnsafeBytes { write(launcher, $0.baseAddress, $0.count) }
        if count >= 0 { break }
        if errno == EAGAIN {
          var wait = pollfd(fd: launcher, events: Int16(POLLOUT), revents: 0)
          _ = poll(&wait, 1, 100)
        } else if errno != EINTR {
          return  // mpirun is gone, and with it whoever could read.
        }
      }
    }
  }
}
