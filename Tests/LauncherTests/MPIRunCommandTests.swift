import Launcher
import Testing

@Suite struct MPIRunCommandTests {
  static let common = [
    "--bind-to", "none", "--stdin", "none", "--mca", "orte_abort_on_non_zero_status", "1", "--mca",
    "orte_base_help_aggregate", "0",
  ]
  static let ownMessages = ["-x", "OPAL_OUTPUT_STDERR_FD=2"]
  static let yields = ["--mca", "mpi_yield_when_idle", "1"]

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var plan: LaunchPlan
    var expected: [String]
    var testDescription: String { name }
  }

  static let cases = [
    Case(
      name: "a rank a core", plan: LaunchPlan(program: "/bin/a", ranks: 2, cores: 2),
      expected: ["--np", "2"] + common + ownMessages + ["/bin/a"]),
    Case(
      name: "more ranks than cores", plan: LaunchPlan(program: "/bin/a", ranks: 3, cores: 2),
      expected: ["--np", "3", "--oversubscribe"] + common + yields + ownMessages + ["/bin/a"]),
    Case(
      name: "more threads than cores", plan: LaunchPlan(program: "/bin/a", ranks: 2, threadsPerRank: 2, cores: 3),
      expected: ["--np", "2"] + common + yields + ownMessages + ["/bin/a"]),
    Case(
      name: "as root", plan: LaunchPlan(program: "/bin/a", ranks: 4, threadsPerRank: 2, cores: 8, isRoot: true),
      expected: ["--np", "4", "--allow-run-as-root"] + common + ownMessages + ["/bin/a"]),
    Case(
      name: "variables by name",
      plan: LaunchPlan(program: "/bin/a", ranks: 2, cores: 2, exportedVariables: ["A", "B"]),
      expected: ["--np", "2"] + common + ownMessages + ["-x", "A", "-x", "B", "/bin/a"]),
    Case(
      name: "odd arguments",
      plan: LaunchPlan(
        program: "./a b", arguments: ["--np", "7", "it's", "$(x)", "a\nb", "-", "", "ÄÖ"], ranks: 2, cores: 2),
      expected: ["--np", "2"] + common + ownMessages
        + ["./a b", "--np", "7", "it's", "$(x)", "a\nb", "-", "", "ÄÖ"]),
  ]

  @Test(arguments: cases) func argumentVector(of theCase: Case) {
    #expect(MPIRunCommand.arguments(for: theCase.plan) == theCase.expected)
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
