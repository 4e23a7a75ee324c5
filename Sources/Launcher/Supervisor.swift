import CProcess
import FileSystem
import Glibc

/// Starts mpirun, passes signals on, and sees to it that nothing of the job is left when it is over.
public struct Supervisor: Sendable {
  /// The launcher's own binary, which stands guard over mpirun.
  public var launcher: String
  public var runID: String
  /// Whether all ranks are on this machine.
  public var isLocal = true
  /// How long mpirun may take to end its ranks after it was asked to.
  public var graceSeconds: Double = 8
  /// Shows a line to the user.
  public var say: @Sendable (String) -> Void

  public init(launcher: String, runID: String, say: @escaping @Sendable (String) -> Void) {
    self.launcher = launcher
    self.runID = runID
    self.say = say
  }

  /// Where mpirun finds the hostfile given to `run`: a file in memory, which nobody can change and nothing leaves behind.
  public static let hostfilePath = "/proc/self/fd/\(hostfileDescriptor)"
  private static let hostfileDescriptor: Int32 = 62

  /// Runs `command` (mpirun's path first) to its end and judges it.
  public func run(
    _ command: [[UInt8]], environment: Environment, hostfile: String? = nil
  ) throws(Failure) -> Verdict {
    var environment = environment
    environment[JobProcesses.variable] = runID
    var pipeEnds: [Int32] = [-1, -1]
    guard pipe(&pipeEnds) == 0 else { throw Failure(.unavailable, "pipe failed: \(lastSystemError())") }
    for end in pipeEnds { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let messages = pipeEnds[0]
    defer { close(messages) }
    _ = fcntl(messages, F_SETFL, O_NONBLOCK)

    let signals = try SignalQueue([SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2])
    defer { signals.close() }

    // A number out of the way of what this process has open; dup2 clears the mark that would close it.
    let childDescriptor: Int32 = 61
    environment[MPIRunCommand.outputVariable] = "\(childDescriptor)"
    var descriptors = [(from: pipeEnds[1], to: childDescriptor)]
    if let hostfile {
      let file = lockstep_memory_file("lockstep-hosts")
      let bytes = Array(hostfile.utf8)
      guard file >= 0, write(file, bytes, bytes.count) == bytes.count else {
        throw Failure(.unavailable, "the hostfile cannot be written to memory: \(lastSystemError())")
      }
      descriptors.append((file, Self.hostfileDescriptor))
    }
    let child: ChildProcess
    do throws(Failure) {
      child = try ChildProcess(
        path: launcher, arguments: Guard.arguments(launcher: getpid(), command: command), environment: environment,
        descriptors: descriptors)
    } catch {
      close(pipeEnds[1])
      throw error
    }
    close(pipeEnds[1])

    var job = Job(child: child, supervisor: self)
    let end = job.watch(signals: signals, messages: messages)
    let left = JobProcesses.kill(runID: runID)
    if !left.isEmpty { say("processes \(left.map(String.init).joined(separator: ", ")) of the job cannot be killed") }
    if let stop = job.stopSignal {
      endTerminalLine()
      return Verdict(status: 128 + stop)
    }
    return Verdict(end: end, fault: job.messages.fault)
  }
}

/// A running mpirun and what was done to it.
private struct Job {
  let child: ChildProcess
  let supervisor: Supervisor
  var messages = MPIMessages()
  /// The signal that ended the job by the user's wish.
  var stopSignal: Int32?
  private var deadline: ContinuousClock.Instant?
  /// Since when mpirun has no rank any more, though processes of the job are there.
  private var ranksGone: ContinuousClock.Instant?
  private let clock = ContinuousClock()

  private var runID: String { supervisor.runID }

  init(child: ChildProcess, supervisor: Supervisor) {
    self.child = child
    self.supervisor = supervisor
  }

  mutating func watch(signals: SignalQueue, messages descriptor: Int32) -> ChildProcess.End {
    while true {
      var waits = [
        pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
      ]
      _ = poll(&waits, nfds_t(waits.count), deadline == nil ? 1000 : 100)
      let isOpen = showMessages(descriptor)
      while let signal = signals.next() { handle(signal) }
      if let end = child.end() {
        _ = showMessages(descriptor)
        write(messages.finish())
        return end
      }
      // mpirun is still there but has closed its end: wait for it without spinning.
      if !isOpen { usleep(20_000) }
      killStragglers()
      if let deadline, clock.now > deadline {
        supervisor.say("mpirun did not end in \(Int(supervisor.graceSeconds)) s; killing the job")
        self.deadline = nil
        _ = JobProcesses.kill(runID: runID)
      }
    }
  }

  /// mpirun waits for the output of whatever a rank has started and left behind: without end for a helper that stays.
  /// Where the ranks are gone and such helpers are all that is left, they are ended.
  private mutating func killStragglers() {
    guard supervisor.isLocal, let ranks = systemText("/proc/\(child.pid)/task/\(child.pid)/children"), ranks.isEmpty
    else {
      ranksGone = nil
      return
    }
    let helpers = JobProcesses.find(runID: runID).filter { $0 != child.pid }
    let now = clock.now
    if helpers.isEmpty {
      ranksGone = nil
    } else if let ranksGone, now - ranksGone > .milliseconds(900) {
      for pid in helpers { kill(pid, SIGKILL) }
    } else {
      ranksGone = ranksGone ?? now
    }
  }

  private mutating func handle(_ signal: Int32) {
    switch signal {
    case SIGINT, SIGTERM, SIGHUP, SIGQUIT:
      if stopSignal == nil {
        stopSignal = signal
        endTerminalLine()
        supervisor.say("\(signalName(signal)): ending the ranks; once more ends them at once")
        deadline = clock.now + .milliseconds(Int(supervisor.graceSeconds * 1000))
        // Once: a second one would make mpirun leave without ending its ranks.
        kill(child.pid, SIGTERM)
      } else {
        _ = JobProcesses.kill(runID: runID)
      }
    case SIGTSTP:
      // The ranks are in another session, so the terminal's Ctrl-Z has to be done for them.
      let stopped = JobProcesses.find(runID: runID)
      for pid in stopped { kill(pid, SIGSTOP) }
      raise(SIGSTOP)
      for pid in stopped { kill(pid, SIGCONT) }
    case SIGUSR1, SIGUSR2:
      kill(child.pid, signal)  // mpirun passes it to every rank.
    default: break  // SIGCHLD only wakes the loop.
    }
  }

  /// Shows what mpirun said; false once there is no more to come.
  private mutating func showMessages(_ descriptor: Int32) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      guard count > 0 else { return count < 0 && (errno == EAGAIN || errno == EINTR) }
      write(messages.read(buffer[..<count]))
    }
  }

  private func write(_ bytes: [UInt8]) {
    if !bytes.isEmpty { _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) } }
  }
}

/// On a terminal a progress bar stands in the line, which what follows is not to be glued to.
private func endTerminalLine() {
  if isatty(STDOUT_FILENO) == 1 { _ = Glibc.write(STDOUT_FILENO, "\n", 1) }
}

/// Signals as a queue to read from, instead of handlers that interrupt.
private struct SignalQueue {
  let descriptor: Int32

  /// Also undoes what a parent had set to be ignored, except SIGHUP, whose being ignored is what `nohup` is for.
  init(_ signals: [Int32]) throws(Failure) {
    var set = sigset_t()
    sigemptyset(&set)
    for number in signals {
      var action = sigaction()
      sigaction(number, nil, &action)
      let isIgnored = unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1  // SIG_IGN
      if number == SIGHUP && isIgnored { continue }
      signal(number, SIG_DFL)
      sigaddset(&set, number)
    }
    sigprocmask(SIG_BLOCK, &set, nil)
    descriptor = signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
    guard descriptor >= 0 else { throw Failure(.unavailable, "signalfd failed: \(lastSystemError())") }
  }

  func next() -> Int32? {
    var info = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    return read(descriptor, &info, size) == size ? Int32(info.ssi_signo) : nil
  }

  func close() { Glibc.close(descriptor) }
}
