import FlightRecorder
import Glibc
import System

/// The exit status of a job, and the line that explains it where the ranks have not done so themselves.
public struct Verdict: Sendable, Equatable {
  public var status: Int32
  public var message: String?
  /// The rank whose failure it is.
  public var rank: Int?
  /// A host that is gone.
  public var lostHost: String?
  /// Whether the user ended the job.
  public var isUsersWish = false

  public init(status: Int32, message: String? = nil) {
    self.status = status
    self.message = message
  }

  init(_ status: ExitStatus, _ message: String) { self.init(status: status.rawValue, message: message) }

  /// Whether starting again can help: not after wrong options or inputs, and not where ranks disagree.
  public var isWorthRestarting: Bool {
    let hopeless: [ExitStatus] = [
      .success, .usage, .badData, .missingInput, .cannotCreate, .ioError, .disagreement, .permission, .configuration,
    ]
    return !isUsersWish && !hopeless.contains { $0.rawValue == status }
  }

  /// Judges a job by what its agents say about the ranks, and where they say nothing by how mpirun ended and what it
  /// said. mpirun's status alone is no verdict: it is 0 for MPI_Abort(0), and 1 for a rank that left early.
  package init(
    end: ChildProcess.End, fault: MPIMessages.Fault?, ranks table: RankTable, starter: Supervisor.Starter = .mpirun
  ) {
    let name = starter == .launcher ? "the agent of \(table.ranks[0].label)" : starter.rawValue
    if fault?.isHostLost == true {
      // Ranks that lost their peers there have failed too.
      self.init(end: end, fault: fault)
    } else if starter == .launcher, case .status(let status) = end, status != 0, table.ranks[0].report.signal == 0 {
      // A process that leaves in order, with a status of its own, has said why on the same screen.
      self.init(status: status)
    } else if fault == nil, end == .status(0), let rank = table.aborter {
      self.init(.lost, "\(rank.label): ended with status 0, and mpirun ended the others for it, as after MPI_Abort(0)")
      self.rank = rank.rank
    } else if let culprit = table.culprit,
      culprit.report.wasTold == 0 || culprit.outcome == .failed || (fault == nil && end.isStatus)
    {
      self.init(culprit)
    } else if fault == nil, end == .status(0), table.hasAgents {
      self.init(agreementOf: table)
    } else if fault == nil, end.isStatus, let obeyed = table.obeyed {
      self.init(obeyed: obeyed)
    } else if let signal = fault?.signal, let rank = fault?.rank, table.isAgentLost(of: rank) {
      // mpirun takes the agent for the rank: the rank itself has not ended.
      let agent = "the agent of \(table.ranks[rank].label)"
      self.init(
        Self.isTrap(signal) ? .internalError : .lost,
        "\(agent) was ended by \(signalName(signal)); its rank went with it")
    } else if starter == .srun, !table.hasAgents, case .status(let status) = end, status != 0 {
      // It has said why itself.
      self.init(
        .unavailable,
        "srun started no rank and ended with status \(status); where Slurm has no PMIx, use --launcher mpirun")
    } else {
      self.init(end: end, fault: fault, starter: name)
    }
  }

  private init(obeyed rank: RankTable.Rank) {
    self.init(.lost, "\(rank.label): ended with status 0 after somebody told its agent to end it")
  }

  /// All ranks have ended with status 0: have they done the same?
  private init(agreementOf table: RankTable) {
    self.init(status: 0)
    if let gone = table.ranks.first(where: { !$0.hasEnded }) {
      self.init(.lost, "\(gone.label): nothing is known of its end")
    } else if let obeyed = table.obeyed {
      self.init(obeyed: obeyed)
    } else if table.isRegistered {
      func odd<Value: Equatable>(_ value: (FlightRecorder.State) -> Value) -> RankTable.Rank? {
        table.ranks.first { value($0.report.state) != value(table.ranks[0].report.state) }
      }
      if let rank = odd(\.step) {
        let first = table.ranks[0].report.state.step
        self.init(
          .disagreement, "\(rank.label): ended after step \(rank.report.state.step), rank 0 after step \(first)")
      } else if let rank = odd(\.digest) {
        self.init(.disagreement, "\(rank.label): ended with other weights than rank 0")
      } else if let rank = odd(\.callDigest) {
        self.init(
          .disagreement,
          "\(rank.label): made \(rank.report.state.sequence) collective calls, other ones than rank 0's "
            + "\(table.ranks[0].report.state.sequence); --debug finds the first that differs")
      }
    }
  }

  /// What a rank's end means.
  private init(_ rank: RankTable.Rank) {
    let report = rank.report
    let step = report.state.step >= 0 ? " after step \(report.state.step)" : ""
    // Who had failed by itself may have been ended by a signal before it could leave.
    if report.signal != 0 && rank.outcome != .failed {
      let signal = Int32(truncatingIfNeeded: report.signal)
      let memory =
        signal == SIGKILL && report.memoryKills > 0
        ? ": killed for lack of memory (oom_kill \(report.memoryKills) in its control group)" : ""
      self.init(rank: rank.label, signal: signal, step: step, memory: memory)
    } else if rank.outcome == .failed {
      // A failure is never a success, whatever the record says.
      let status = report.state.status == 0 ? ExitStatus.lost.rawValue : Int32(truncatingIfNeeded: report.state.status)
      // What all agreed on has been said by one of them.
      self.init(
        status: status, message: report.state.isAgreed != 0 ? nil : "\(rank.label): ended with status \(status)\(step)")
    } else if report.status == 0 {
      self.init(.lost, "\(rank.label): \(rank.earlyEnd)")
    } else {
      let status = Int32(truncatingIfNeeded: report.status)
      self.init(status: status, message: "\(rank.label): ended with status \(status)\(step)")
    }
    self.rank = rank.rank
    if rank.outcome != .failed {
      explain(by: ResourceLimit(kind: report.limit, value: report.limitValue), signal: report.signal)
    }
  }

  /// Judges by mpirun alone.
  package init(end: ChildProcess.End, fault: MPIMessages.Fault?, starter: String = "mpirun") {
    let rank = "rank" + (fault?.rank.map { " \($0)" } ?? "") + (fault?.host.map { " (host \($0))" } ?? "")
    switch end {
    case .signal(let signal):
      self.init(.lost, "\(starter) itself was ended by \(signalName(signal)); the ranks went with it")
    case .status(let status):
      if let fault, let signal = fault.signal {
        self.init(rank: rank, signal: signal)
      } else if let fault, fault.isAbort, let chosen = fault.status {
        // The system keeps eight bits, so that 256 would be success.
        if chosen & 0xFF == 0 {
          self.init(.lost, "\(rank) called MPI_Abort with status \(chosen)")
        } else {
          self.init(status: Int32(chosen & 0xFF))
        }
      } else if fault?.isHostLost == true {
        self.init(.lost, "host \(fault?.host ?? "of a rank") was lost: it is down, cut off, or its orted was killed")
        lostHost = fault?.host
      } else if fault?.isHostUnreachable == true {
        self.init(.unavailable, "a host cannot be reached, or has no Open MPI on its PATH")
      } else if fault?.isUnfinished == true, status == 1 {
        self.init(.lost, "\(rank) ended with status 0 while the job was not finished")
      } else if 129...159 ~= status {
        self.init(rank: fault?.rank == nil ? "a rank" : rank, signal: status - 128)
      } else {
        self.init(status: status)
      }
    }
  }

  /// A failure under a limit that is near may well be the limit's: programs crash where they do not ask whether they got
  /// what they need. Not one that the program has told itself, or that somebody brought about.
  mutating func explain(by limit: ResourceLimit?, signal: Int64 = 0) {
    guard let limit, status != 0, let message else { return }
    if limit.kind == .addressSpace && status != ExitStatus.internalError.rawValue { return }
    if [SIGKILL, SIGTERM, SIGHUP, SIGPIPE].contains(Int32(truncatingIfNeeded: signal)) { return }
    if [ExitStatus.internalError, .lost].contains(where: { $0.rawValue == status }) {
      status = ExitStatus.unavailable.rawValue
    }
    self.message = "\(message); \(limit.text), which may be too little"
  }

  private init(rank: String, signal: Int32, step: String = "", memory: String = "") {
    let guess =
      switch signal {
      case SIGKILL where memory.isEmpty: "; if nobody did, the kernel may have: see dmesg for \"Out of memory\""
      case SIGPIPE: ": nobody reads what it writes"
      case SIGXFSZ: ": a file would have grown over the limit (ulimit -f)"
      default: memory
      }
    let isWrite = signal == SIGPIPE || signal == SIGXFSZ
    let status: ExitStatus = Self.isTrap(signal) ? .internalError : isWrite ? .ioError : .lost
    self.init(status, "\(rank): ended by \(signalName(signal))\(step)\(guess)")
  }

  /// Whether `signal` is what a Swift trap, a bad pointer or a wrong instruction raises: a mistake in the program.
  static func isTrap(_ signal: Int32) -> Bool {
    [SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGABRT, SIGSYS].contains(signal)
  }
}
