import Launcher
import System
import Testing

@Suite struct MPIRunCommandTests {
  @Test(arguments: PlanCase.all) func argumentVector(of theCase: PlanCase) {
    #expect(MPIRunCommand.arguments(for: theCase.plan) == theCase.expected)
  }

  @Test func enoughPlans() {
    #expect(PlanCase.all.count >= 30)
    #expect(Set(PlanCase.all.map(\.name)).count == PlanCase.all.count)
    for flavour in MPIFlavour.allCases { #expect(PlanCase.all.contains { $0.plan.flavour == flavour }) }
  }

  @Test(arguments: PlanCase.all) func everyOptionHasItsComment(_ theCase: PlanCase) {
    let text = MPIRunCommand.commented("/usr/bin/mpirun", for: theCase.plan)
    let options = MPIRunCommand.options(for: theCase.plan)
    #expect(options.allSatisfy { !$0.comment.isEmpty })
    #expect(text.utf8.count { $0 == 10 } >= options.count + 1)
    #expect(text.contains("# \(theCase.plan.flavour.rawValue)\n"))
  }

  @Test(arguments: [
    ("mpirun (Open MPI) 4.1.4\n\nReport bugs to", MPIFlavour.openMPI4), ("mpirun (Open MPI) 3.1.6\n", .openMPI4),
    ("mpiexec (OpenRTE) 4.1.2\n", .openMPI4), ("mpirun (Open MPI) 5.0.11\n", .openMPI5),
    ("mpirun (Open MPI) 10.0.0rc1\n", .openMPI5), ("HYDRA build details:\n    Version: 5.0.2\n", .mpich),
    ("Intel(R) MPI Library for Linux* OS, Version 2021.19.0 Build 20260929\n", .intel),
  ]) func flavourOfAVersion(_ text: String, _ flavour: MPIFlavour) {
    #expect(MPIFlavour(version: text) == flavour)
  }

  @Test func unknownFlavour() {
    for text in ["", "mpirun", "(Open MPI) x", "LAM 7.1.2/MPI 2"] { #expect(MPIFlavour(version: text) == nil) }
  }

  @Test func hostfilesOfHydra() throws {
    let hosts = try Hostfile(Array("a slots=2\nu@b slots=3\n".utf8), path: "h").entries
    var plan = LaunchPlan(program: "/p", ranks: 4, cores: 2, placement: try Placement(hosts, ranks: 4, path: "h"))
    #expect(MPIRunCommand.hostfile(for: plan) == "a slots=2\nb slots=2 username=u\n")
    plan.flavour = .mpich
    #expect(MPIRunCommand.hostfile(for: plan) == "a:2\nb:2 user=u\n")
    #expect(MPIRunCommand.variables(for: plan).map(\.name) == ["HYDRA_LAUNCHER_EXTRA_ARGS"])
    plan.flavour = .intel
    plan.remote.port = 2222
    let variable = try #require(MPIRunCommand.variables(for: plan).first)
    #expect(variable.name == "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS")
    #expect(variable.value == "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 -p 2222")
  }

  /// What a flavour cannot do is refused before anything starts.
  @Test func whatAFlavourCannotDo() throws {
    func refusal(_ flavour: MPIFlavour, _ hosts: String?, _ change: (inout LaunchPlan) -> Void) throws -> String {
      let entries = try hosts.map { try Hostfile(Array($0.utf8), path: "h").entries }
      var plan = LaunchPlan(
        program: "/p", ranks: 2, cores: 2, placement: try entries.map { try Placement($0, ranks: 2, path: "h") })
      plan.flavour = flavour
      change(&plan)
      do throws(Failure) {
        try MPIRunCommand.check(plan)
        return "accepted"
      } catch { return error.description }
    }
    #expect(try refusal(.mpich, "a slots=2\n") { $0.networks = ["10.0.0.0/8"] }.contains("MPICH takes one interface"))
    #expect(try refusal(.intel, "a slots=2\n") { $0.networks = ["eth0", "eth1"] }.contains("takes one interface"))
    #expect(try refusal(.mpich, "a slots=2\n") { $0.networks = ["eth0"] } == "accepted")
    #expect(try refusal(.mpich, "a slots=2 port=7\n") { _ in }.hasSuffix("(--ssh_port 7)"))
    #expect(try refusal(.intel, "u@a slots=2\n") { _ in }.contains("user u, but Intel MPI"))
    let tooMany = try refusal(.openMPI4, nil) { ($0.binding, $0.threadsPerRank) = ("core", 2) }
    #expect(tooMany == "binding: core, but 2 ranks of 2 threads want 4 cores and there are 2 (--binding none)")
  }

  @Test func defaultRanksAndThreads() {
    #expect([0, 1, 2, 3, 4, 5, 64].map { LaunchPlan.defaultRanks(cores: $0) } == [1, 1, 2, 3, 4, 4, 4])
    #expect(LaunchPlan.defaultThreads(cores: 8, ranks: 3) == 2)
    #expect(LaunchPlan.defaultThreads(cores: 2, ranks: 4) == 1)
  }

  @Test(arguments: ["plain", "a b", "it's", "'", "a\nb", "", "$x", "ä", "'\u{301}", "\\", "-x=/y:z"])
  func aShellReadsBackWhatIsQuoted(_ word: String) throws {
    let result = try run("/bin/sh", ["-c", "printf %s " + shellQuoted(word)])
    #expect(result.stdout == Array(word.utf8))
  }
}
