import FlightRecorder
import Glibc
import System

/// How the ranks of this job are started, as the environment tells.
public enum Launch: Equatable, Sendable {
  /// By an MPI launcher or srun; the number of ranks where the environment says it.
  case mpi(ranks: Int?)
  /// As threads of this process.
  case threads(Int)
  /// One rank. MPI is not initialised, which takes 0.4 s.
  case solo

  /// Asks for several ranks as threads of one process.
  public static let inProcessVariable = "LOCKSTEP_IN_PROCESS"

  /// Decides by the variables of mpirun (Open MPI, PMIx, PMI, Hydra), of srun, and `LOCKSTEP_IN_PROCESS`.
  ///
  /// - Parameter speaksPMI: whether this MPI finds the other tasks of a Slurm without PMIx; asked where it matters.
  public init(
    _ environment: Environment,
    speaksPMI: () -> Bool = MPILibrary.speaksPMI
  ) throws(Failure) {
    func found(_ name: String) -> Bool { environment[name] != nil }
    let started = ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"].first(where: found)

    if let text = environment[Self.inProcessVariable] {
      guard let ranks = wholeNumber(text), 1...1024 ~= ranks else {
        throw Failure(.usage, at: Self.inProcessVariable, "\"\(text)\", expected a number of ranks from 1 to 1024")
      }
      if let started {
        throw Failure(
          .usage, "\(Self.inProcessVariable) and \(started) are both set, expected one way to start the ranks",
          hint: "unset \(Self.inProcessVariable), or run without an MPI launcher")
      }
      self = .threads(ranks)
      return
    }

    // Only srun makes a step: a batch script has SLURM_PROCID and SLURM_NTASKS too, but runs once.
    let slurmRanks = environment["SLURM_STEP_ID"].flatMap { _ in
      (environment["SLURM_STEP_NUM_TASKS"] ?? environment["SLURM_NTASKS"]).flatMap(wholeNumber)
    }
    let hasPMIx = found("OMPI_COMM_WORLD_SIZE") || found("PMIX_RANK")
    // Open MPI without PMI would end the process inside MPI_Init, with twenty lines about building Slurm.
    if started != nil && (hasPMIx || slurmRanks == nil || speaksPMI()) {
      self = .mpi(
        ranks: environment["OMPI_COMM_WORLD_SIZE"].flatMap(wholeNumber) ?? environment["PMI_SIZE"].flatMap(wholeNumber)
          ?? slurmRanks)
    } else if let slurmRanks, slurmRanks > 1 {
      let means = started == nil ? "no PMIx" : "PMI-1 or PMI-2, which this MPI does not speak, and no PMIx"
      throw Failure(
        .unavailable, "Slurm started \(slurmRanks) tasks, but gave them \(means) to find one another",
        hint: "start with `srun --mpi=pmix`, or with mpirun")
    } else {
      self = .solo
    }
  }
}

/// Runs `body` as each rank of this job, started as the environment tells, and returns the status to exit with.
///
/// `report` is to print a failure; it is called once for a failure that all ranks agreed on (on rank 0), otherwise by
/// each rank that failed by itself, with the rank and host in front, before the whole job is aborted.
public func withCommunicator(
  environment: Environment,
  report: (Failure) -> Void,
  _ body: @escaping @Sendable (any Communicator) throws(Failure) -> Void
) -> ExitStatus {
  do throws(Failure) {
    let launch = try Launch(environment)
    let simulatedHosts = environment[SimulatedHosts.variable]
    let record = FlightRecorder.given(environment)
    switch launch {
    case .solo:
      record?.join(rank: 0, size: 1)
      try recorded(record) { () throws(Failure) in try body(SoloCommunicator(record: record)) }
    case .threads(let ranks):
      record?.join(rank: 0, size: ranks)
      try recorded(record) { () throws(Failure) in
        let hosts = try simulatedHosts.map { (text) throws(Failure) in try SimulatedHosts(text, ranks: ranks) }
        _ = try ThreadCommunicator.run(ranks: ranks, simulated: hosts, record: record) {
          (communicator) throws(Failure) in
          try body(communicator)
        }
      }
    case .mpi(let ranks):
      let communicator = try MPICommunicator(
        expectedSize: ranks, record: record, simulatedHosts: simulatedHosts,
        comparesCalls: environment["LOCKSTEP_DEBUG"] == "1")
      do throws(Failure) {
        try body(communicator)
        try communicator.compareEnd()
      } catch {
        let isAgreed = communicator.agreement.covers(error)
        record?.end(.failed, status: error.status.rawValue, isAgreed: isAgreed)
        guard isAgreed else {
          report(error.from(rank: communicator.rank, host: communicator.host))
          communicator.abort(error.status)
        }
        if communicator.isMain { report(error) }
        try communicator.finalize()
        return error.status
      }
      try communicator.finalize()
      record?.end(.done)
    }
    // The launcher gives a job that was stopped its status.
    return record == nil ? StopSignals.stopStatus ?? .success : .success
  } catch {
    report(error)
    return error.status
  }
}

/// Notes in `record` how the only process of a job ended. Its failure is all ranks'.
private func recorded(_ record: FlightRecorder?, _ body: () throws(Failure) -> Void) throws(Failure) {
  do throws(Failure) {
    try body()
  } catch {
    record?.end(.failed, status: error.status.rawValue, isAgreed: true)
    throw error
  }
  record?.end(.done)
}

/// Digits only: `Int("+1")` would be 1.
private func wholeNumber(_ text: String) -> Int? {
  text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int(text) : nil
}
