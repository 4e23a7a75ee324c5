import CProcess
import Glibc
import System

/// Starts the ranks, shows what they write, watches over them, passes signals on, and sees to it that nothing of the job
/// is left when it is over.
public struct Supervisor: Sendable {
  /// What starts the ranks, or rather their agents.
  public enum Starter: String, Sendable {
    case mpirun, srun
    /// The launcher itself: one process, with its agent.
    case launcher
  }

  /// The launcher's own binary, which stands guard over mpirun.
  public var launcher: String
  public var starter = Starter.mpirun
  public var runID: String
  public var ranks: Int
  /// Ranks of each process, as threads.
  public var threadRanks = 1
  /// The host of each rank, as far as the plan says.
  public var hosts: [String] = []
  /// Whether all ranks are on this host.
  public var isOnThisHostAlone = false
  /// Nil does not watch: a debugger may hold the ranks.
  public var watchdog: Watchdog? = Watchdog()
  public var output = JobOutput.Options()
  /// The rank that a debugger stands in front of: Ctrl-C is for the debugger.
  public var debuggedRank: Int?
  /// How long mpirun may take to end its ranks after it was told to.
  public var graceSeconds: Double = 4
  /// How long the others of a rank that failed may live on: the grace of an mpirun that ends them by itself.
  public var failureSeconds: Double = 8
  /// How long mpirun may live on after its last rank.
  public var outliveSeconds: Double = 10
  /// What this host has too little of for MPI, which explains a job that does not come up.
  public var shortage: String?
  /// How long ranks may take to stop by themselves.
  public var stopSeconds: Double = 30
  /// Shows a line to the user.
  public var say: @Sendable (String) -> Void

  public init(launcher: String, runID: String, ranks: Int, say: @escaping @Sendable (String) -> Void) {
    self.launcher = launcher
    self.runID = runID
    self.ranks = ranks
    self.say = say
  }

  /// Where mpirun finds the hostfile given to `run`: a file in memory, which nobody can change and nothing leaves behind.
  public static let hostfilePath = "/proc/self/fd/\(hostfileDescriptor)"
  private static let hostfileDescriptor: Int32 = 62
  // A number out of the way of what this process has open; dup2 clears the mark that would close it.
  static let messagesDescriptor: Int32 = 61

  /// Runs `command` (the path of mpirun, say, first) to its end and judges it.
  public func run(
    _ command: [[UInt8]], environment: Environment, hostfile: String? = nil
  ) throws(Failure) -> Verdict {
    try HostRequirements.checkFileLimit()
    try Self.checkDescriptors()
    let outer = environment
    var environment = environment
    environment[JobProcesses.variable] = runID
    if starter == .mpirun { environment[MPIRunCommand.outputVariable] = "\(Self.messagesDescriptor)" }
    let signals = try SignalQueue([SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2])
    defer { signals.close() }
    signal(SIGPIPE, SIG_IGN)
    // Its threads are not to take signals from the queue.
    let output = try JobOutput(output)
    defer { output.closeScreen() }

    let messages = try Self.pipe()
    var descriptors = [(from: messages.write, to: Self.messagesDescriptor)]
    // One process writes to where this one does; its agent's reports come in place of mpirun's messages.
    var sources = starter == .launcher ? [-1, -1, messages.read] : [messages.read]
    var toClose = [messages.write]
    defer { for descriptor in sources + toClose where descriptor >= 0 { close(descriptor) } }
    if starter != .launcher {
      for target in [STDOUT_FILENO, STDERR_FILENO] {
        let pipe = try Self.pipe()
        descriptors.append((pipe.write, target))
        sources.append(pipe.read)
        toClose.append(pipe.write)
      }
    }
    if let hostfile {
      let file = lockstep_memory_file("lockstep-hosts")
      let bytes = Array(hostfile.utf8)
      guard file >= 0, write(file, bytes, bytes.count) == bytes.count else {
        throw Failure(.unavailable, "the hostfile cannot be written to memory: \(lastSystemError())")
      }
      descriptors.append((file, Self.hostfileDescriptor))
      toClose.append(file)
    }
    let reaper = starter == .launcher ? nil : try JobReaper(launcher: launcher, runID: runID, outer)
    defer { reaper?.dismiss() }
    let child = try ChildProcess(
      path: launcher, arguments: ParentDeathGuard.arguments(launcher: getpid(), command: command),
      environment: environment, descriptors: descriptors)
    for descriptor in toClose { close(descriptor) }
    toClose = []

    let remains = starter == .mpirun ? JobRemains(holder: child.pid) : nil
    if let remains { reaper?.tell(remains) }
    var job = SupervisedJob(child: child, supervisor: self, output: output)
    let end = job.watch(signals: signals, sources: &sources)
    sweep(after: end, remains, JobRemains.Places(outer))
    var interruption = job.drain(signals)
    var verdict = job.verdict(end)
    interruption = interruption ?? job.drain(signals)
    job.sayLosses()
    if let interruption, verdict.status == 0 {
      // What the user has not seen may be what counts.
      verdict = Verdict(status: 128 + interruption)
      verdict.isUsersWish = true
    }
    return verdict
  }

  /// The numbers that are out of the way of what a process has open need a limit above them.
  private static func checkDescriptors() throws(Failure) {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < leastDescriptors else {
      return
    }
    throw Failure(
      .unavailable, "a process may have \(limit.rlim_cur) open files, expected at least \(leastDescriptors)",
      hint: "ulimit -n \(leastDescriptors)")
  }

  private static let leastDescriptors: rlim_t = 64

  /// Waits between two runs; the signal that ended the pause, or nil.
  public static func pause(seconds: Double) throws(Failure) -> Int32? {
    let signals = try SignalQueue([SIGINT, SIGTERM, SIGHUP, SIGQUIT])
    defer { signals.close() }
    var wait = pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)
    _ = poll(&wait, 1, Int32(seconds * 1000))
    return signals.next()
  }

  /// Sees to it that no process of the job is left on this host.
  private func sweep(after end: ChildProcess.End, _ remains: JobRemains?, _ places: JobRemains.Places) {
    // Agents whose mpirun or daemon was killed clean up by themselves, and are given the time.
    for _ in 0..<50 where !JobProcesses.find(runID: runID).isEmpty { usleep(50_000) }
    let left = JobProcesses.kill(runID: runID)
    if !left.isEmpty { say("processes \(left.map(String.init).joined(separator: ", ")) of the job cannot be killed") }
    // Agents that were gone before it could not.
    if case .signal = end { remains?.remove(from: places) }
  }

  /// A pipe that this process reads what there is from, without waiting.
  private static func pipe() throws(Failure) -> Pipe {
    let pipe = try Pipe()
    _ = fcntl(pipe.read, F_SETFL, O_NONBLOCK)
    return pipe
  }
}
