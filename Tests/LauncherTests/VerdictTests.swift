import Launcher
import Testing

@Suite struct VerdictTests {
  func fault(_ change: (inout MPIMessages.Fault) -> Void) -> MPIMessages.Fault {
    var fault = MPIMessages.Fault()
    change(&fault)
    return fault
  }

  @Test func aRanksStatusPasses() {
    for status: Int32 in [0, 1, 7, 64, 65, 128, 160, 200, 255] {
      #expect(Verdict(end: .status(status), fault: nil) == Verdict(status: status))
    }
  }

  @Test func abortIsNeverSuccess() {
    for status in [0, 256, -256] {
      let verdict = Verdict(end: .status(0), fault: fault { ($0.isAbort, $0.rank, $0.status) = (true, 1, status) })
      #expect(verdict.status == 75)
      #expect(verdict.message?.contains("rank 1 called MPI_Abort with status \(status)") == true)
    }
    #expect(Verdict(end: .status(44), fault: fault { ($0.isAbort, $0.status) = (true, 300) }).status == 44)
  }

  @Test func signals() {
    let killed = Verdict(end: .status(137), fault: fault { ($0.rank, $0.host, $0.signal) = (2, "b", 9) })
    #expect(killed.status == 75)
    #expect(killed.message?.hasPrefix("rank 2 (host b): ended by signal 9 (SIGKILL)") == true)
    for signal: Int32 in [4, 5, 6, 7, 8, 11] {
      #expect(Verdict(end: .status(128 + signal), fault: nil).status == 70)
    }
    #expect(Verdict(end: .status(143), fault: nil).status == 75)
    #expect(Verdict(end: .signal(9), fault: nil).status == 75)
  }

  @Test func hostsAndEarlyEnds() {
    #expect(Verdict(end: .status(205), fault: fault { ($0.isHostLost, $0.host) = (true, "b") }).status == 75)
    #expect(Verdict(end: .status(255), fault: fault { $0.isHostUnreachable = true }).status == 69)
    #expect(Verdict(end: .status(1), fault: fault { ($0.isUnfinished, $0.rank) = (true, 0) }).status == 75)
  }
}
