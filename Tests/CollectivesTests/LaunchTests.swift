import Collectives
import Synchronization
import System
import Testing

import struct System.ExitStatus  // Testing has one too.

@Suite("How ranks are started")
struct LaunchTests {
  @Test(
    "the environment tells",
    arguments: [
      ([:], .solo),
      (["OMPI_COMM_WORLD_SIZE": "3", "PMIX_RANK": "0"], .mpi(ranks: 3)),
      (["PMIX_RANK": "0"], .mpi(ranks: nil)),
      (["PMI_RANK": "1", "PMI_SIZE": "4"], .mpi(ranks: 4)),
      (["MPI_LOCALNRANKS": "2"], .mpi(ranks: nil)),
      (["SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "8", "PMIX_RANK": "0"], .mpi(ranks: 2)),
      (["SLURM_STEP_ID": "0", "SLURM_NTASKS": "1"], .solo),
      // A batch script runs once, whatever its allocation.
      (["SLURM_PROCID": "0", "SLURM_NTASKS": "8"], .solo),
      (["SLURM_NTASKS": "4"], .solo),
      (["LOCKSTEP_IN_PROCESS": "4"], .threads(4)),
    ] as [([String: String], Launch)])
  func kinds(environment: [String: String], expected: Launch) throws {
    #expect(try Launch(Environment(environment)) == expected)
  }

  @Test(
    "tasks of a Slurm without PMIx find one another only by an MPI that speaks PMI", arguments: [true, false])
  func slurmWithPMI(speaks: Bool) throws {
    let variables = ["SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "PMI_RANK": "0", "PMI_SIZE": "2"]
    func launch(_ changes: [String: String]) throws(Failure) -> Launch {
      try Launch(Environment(variables.merging(changes) { $1 }), speaksPMI: { speaks })
    }
    let lone = try launch(["SLURM_STEP_NUM_TASKS": "1", "PMI_SIZE": "1"])
    #expect(lone == (speaks ? .mpi(ranks: 1) : .solo))
    guard !speaks else { return #expect(try launch([:]) == .mpi(ranks: 2)) }
    let failure = #expect(throws: Failure.self) { try launch([:]) }
    #expect(failure?.status == .unavailable && failure?.description.contains("does not speak") == true)
    // With PMIx as well nobody asks.
    #expect(try launch(["PMIX_RANK": "0"]) == .mpi(ranks: 2))
  }

  @Test(
    "what cannot be meant is refused",
    arguments: [
      (["LOCKSTEP_IN_PROCESS": "0"], .usage, "\"0\", expected a number of ranks from 1 to 1024"),
      (["LOCKSTEP_IN_PROCESS": "+2"], .usage, "\"+2\""),
      (["LOCKSTEP_IN_PROCESS": ""], .usage, "\"\""),
      (["LOCKSTEP_IN_PROCESS": "99999999999999999999"], .usage, "\"99999999999999999999\""),
      (["LOCKSTEP_IN_PROCESS": "2", "PMIX_RANK": "0"], .usage, "LOCKSTEP_IN_PROCESS and PMIX_RANK are both set"),
      (["SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"], .unavailable, "srun --mpi=pmix"),
    ] as [([String: String], ExitStatus, String)])
  func refused(environment: [String: String], status: ExitStatus, text: String) throws {
    let failure = #expect(throws: Failure.self) { try Launch(Environment(environment)) }
    #expect(failure?.status == status && failure?.description.contains(text) == true, "\(failure as Any)")
  }

  @Test("withCommunicator reports once and returns the status")
  func reports() {
    for (environment, failure) in [
      ([:], "folder: is missing"),
      (["LOCKSTEP_IN_PROCESS": "3"], "rank 0 (host \(SoloCommunicator().host)): folder: is missing"),
      (["LOCKSTEP_IN_PROCESS": "x"], "LOCKSTEP_IN_PROCESS: \"x\", expected a number of ranks from 1 to 1024"),
    ] as [([String: String], String)] {
      var reported: [String] = []
      let status = withCommunicator(environment: Environment(environment), report: { reported.append($0.description) })
      {
        (communicator) throws(Failure) in
        if communicator.isMain { throw Failure(.missingInput, at: "folder", "is missing") }
        try communicator.barrier()
      }
      #expect(reported == [failure])
      #expect(status == (environment["LOCKSTEP_IN_PROCESS"] == "x" ? .usage : .missingInput))
    }
    #expect(withCommunicator(environment: Environment(), report: { _ in }) { _ in } == .success)
  }
}

/// Values that threads set.
final class Collected: Sendable {
  private let values: Mutex<[Failure?]>

  init(count: Int) { values = Mutex(Array(repeating: nil, count: count)) }

  func set(_ value: Failure, at index: Int) { values.withLock { $0[index] = value } }

  var all: [Failure?] { values.withLock { $0 } }
}
