import Collectives
import Glibc
import System
import TestSupport
import Testing

import struct System.ExitStatus  // Testing has one too.

/// The same checks for every kind of communicator, each in processes of their own.
@Suite("Ranks in processes", .serialized)
struct MPITests {
  @Test("closed forms, bits and gathers under mpirun", arguments: 1...4)
  func closedForms(ranks: Int) throws {
    let outcome = try mpirun(ranks: ranks, "closed-forms")
    #expect(outcome.status == 0, "\(outcome.output)")
    #expect(outcome.lines.sorted() == (0..<ranks).map { "rank \($0) of \(ranks): correct" })
  }

  @Test("the same as threads of one process", arguments: 1...4)
  func closedFormsInThreads(ranks: Int) throws {
    let outcome = try spawn([rankcheck(), "closed-forms"], variables: [Launch.inProcessVariable: "\(ranks)"])
    #expect(outcome.status == 0, "\(outcome.output)")
    #expect(outcome.lines.sorted() == (0..<ranks).map { "rank \($0) of \(ranks): correct" })
  }

  @Test("the same alone")
  func closedFormsAlone() throws {
    let outcome = try spawn([rankcheck(), "closed-forms"])
    #expect(outcome.status == 0 && outcome.lines == ["rank 0 of 1: correct"], "\(outcome.output)")
  }

  @Test("an agreed failure is told once, with the lowest failing rank, and ends all ranks")
  func agreedFailure() throws {
    let host = try hostName()
    let expected = "error: rank 1 (host \(host)): train.tsv:17: label 6 (0 or 1)"
    let outcome = try mpirun(ranks: 3, "agree-fails", "1")
    #expect(outcome.status == ExitStatus.badData.rawValue)
    #expect(outcome.lines.filter { $0.hasPrefix("error: ") } == [expected], "\(outcome.output)")

    let threads = try spawn([rankcheck(), "agree-fails", "1"], variables: [Launch.inProcessVariable: "3"])
    #expect(threads.status == ExitStatus.badData.rawValue && threads.lines == [expected], "\(threads.output)")
  }

  @Test("a failure that all ranks share names none")
  func sharedFailure() throws {
    let outcome = try mpirun(ranks: 2, "agree-same")
    #expect(outcome.status == ExitStatus.missingInput.rawValue)
    #expect(outcome.lines.filter { $0.hasPrefix("error: ") } == ["error: no folder here"], "\(outcome.output)")
  }

  @Test("a rank that fails by itself ends the others, which wait", arguments: [0, 1])
  func ownFailure(failing: Int) throws {
    let host = try hostName()
    let expected = "error: rank \(failing) (host \(host)): out: is read-only"
    for outcome in [
      try mpirun(ranks: 2, "throws", "\(failing)"),
      try spawn([rankcheck(), "throws", "\(failing)"], variables: [Launch.inProcessVariable: "2"]),
    ] {
      #expect(outcome.status == ExitStatus.cannotCreate.rawValue)
      #expect(outcome.lines.filter { $0.hasPrefix("error: ") } == [expected], "\(outcome.output)")
      #expect(!outcome.output.contains("never reached"))
    }
  }

  @Test("an abort's status passes through mpirun; success is none", arguments: [64, 65, 75, 78, 0])
  func abortStatus(status: Int) throws {
    let expected: Int32 = status == 0 ? ExitStatus.internalError.rawValue : Int32(status)
    #expect(try mpirun(ranks: 2, "abort", "\(status)").status == expected)
    let threads = try spawn([rankcheck(), "abort", "\(status)"], variables: [Launch.inProcessVariable: "2"])
    #expect(threads.status == expected)
  }

  @Test("an error of MPI names the call, the rank, the host and MPI's text")
  func errorsReturn() throws {
    let outcome = try mpirun(ranks: 2, "mismatch", "500")
    #expect(outcome.status == ExitStatus.disagreement.rawValue, "\(outcome.output)")
    let expected = "error: rank 1 (host \(try hostName())): MPI_Bcast failed: MPI_ERR_TRUNCATE: message truncated"
    #expect(outcome.lines.contains(expected), "\(outcome.output)")
  }

  @Test(
    "with LOCKSTEP_DEBUG ranks that call different collectives are told apart before any data moves",
    arguments: zip(
      0..<6,
      [
        ("sum of 2 floats", "sum of 4 floats"), ("sum of 4 doubles", "sum of 4 floats"),
        ("broadcast from rank 1 of 32 bytes", "broadcast from rank 0 of 32 bytes"), ("barrier", "sum of 4 floats"),
        ("gather of 8 bytes", "barrier"), ("sum of 4 floats", "sum of 4 floats"),
      ]))
  func comparedCalls(which: Int, calls: (odd: String, others: String)) throws {
    let command = Program.mpirun(ranks: 3) + [try rankcheck(), "differ", "\(which)"]
    let outcome = try spawn(command, variables: ["LOCKSTEP_DEBUG": "1"], seconds: 20)
    #expect(outcome.status == ExitStatus.disagreement.rawValue, "\(outcome.output)")
    let lines = outcome.lines.filter { $0.hasPrefix("error: ") }
    let start =
      "error: ranks call different collectives: rank 1 (host \(try hostName())) \(calls.odd) at rankcheck/Checks.swift:"
    #expect(lines.count == 1 && lines.allSatisfy { $0.hasPrefix(start) }, "\(outcome.output)")
    #expect(
      lines.first?.contains(", the others \(calls.others) at rankcheck/Checks.swift:") == true, "\(outcome.output)")
    #expect(!outcome.output.contains("went on"))
  }

  @Test("with LOCKSTEP_DEBUG ranks that call the same go on")
  func sameCalls() throws {
    let command = Program.mpirun(ranks: 3) + [try rankcheck(), "differ", "9"]
    let outcome = try spawn(command, variables: ["LOCKSTEP_DEBUG": "1"])
    #expect(outcome.status == 0 && outcome.lines.count { $0.hasSuffix("went on") } == 3, "\(outcome.output)")
  }

  @Test("more bytes than an Int32 counts", .needs(.patience, .memory(megabytes: 6000)))
  func hugeBroadcast() throws {
    let outcome = try mpirun(ranks: 2, "huge", "\(Int(Int32.max) + 12_345)")
    #expect(outcome.status == 0, "\(outcome.output)")
  }

  @Test("srun without PMIx is told before MPI ends the process")
  func slurmWithoutPMIx() throws {
    let variables = ["SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "3", "SLURM_STEP_ID": "0"]
    let outcome = try spawn([rankcheck(), "closed-forms"], variables: variables)
    #expect(outcome.status == ExitStatus.unavailable.rawValue)
    #expect(outcome.lines.count == 1 && outcome.output.contains("srun --mpi=pmix"), "\(outcome.output)")
  }

  @Test("a launcher that MPI does not know is told")
  func foreignLauncher() throws {
    let outcome = try spawn([rankcheck(), "closed-forms"], variables: ["PMI_RANK": "0", "PMI_SIZE": "4"])
    #expect(outcome.status == ExitStatus.unavailable.rawValue)
    #expect(outcome.output.contains("MPI found 1 rank, the launcher started 4"), "\(outcome.output)")
  }

  private func hostName() throws -> String {
    try String(decoding: readProc("/proc/sys/kernel/hostname").prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
  }

  /// Files of /proc have no size to go by.
  private func readProc(_ path: String) throws -> [UInt8] {
    let file = open(path, O_RDONLY)
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = read(file, &bytes, bytes.count)
    guard count > 0 else { throw Failure(.ioError, at: path, lastSystemError()) }
    return Array(bytes.prefix(count))
  }
}
