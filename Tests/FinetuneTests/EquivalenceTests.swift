import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// `launch verify-equivalence`.
  struct Equivalence {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func command(_ sizes: String, steps: Int = 20, _ options: [String]) throws -> [String] {
      [
        try Program.built("launch"), "verify-equivalence", "--num_processes", sizes, "--steps", "\(steps)", "finetune",
      ] + tinyModel + options
    }

    private func verify(_ sizes: String, _ options: [String]) throws -> Program.Outcome {
      try Program.run(command(sizes, options), variables: ["TMPDIR": folder.path], seconds: 120)
    }

    @Test("jobs that compute the same end with 0, and one that does not is named with step and values")
    func verdicts() throws {
      let exact = try verify("1,2,3", ["--batch-size", "8", "--reduction", "invariant"])
      #expect(exact.status == 0, "\(exact.errors)")
      #expect(
        exact.outputLines == [2, 3].map { "1 and \($0) processes: the same bits in all 20 steps" }, "\(exact.output)")
      let near = try verify("1,2", ["--batch-size", "8"])
      #expect(near.status == 0 && near.output.hasPrefix("1 and 2 processes: losses within "), "\(near.output)")
      // Padding of the last batch repeats rows, and the more the more ranks there are.
      let far = try verify("1,3", ["--batch-size", "9", "--uneven", "pad"])
      #expect(
        far.status == 76 && far.errors.contains("error: 1 and 3 processes: step 7, loss: "), "\(far.errors)")
      #expect(TemporaryFolder.entries(folder.path) == [], "each of them removes what it wrote")
    }

    @Test("a job that cannot run is told in its own words; what is no list of numbers is refused")
    func refusals() throws {
      let failed = try verify("1,2", ["--learning-rate", "-1"])
      #expect(failed.status == 64 && failed.errors.contains("--learning-rate"), "\(failed.errors)")
      for sizes in ["1", "1,", "0,2", "one,two"] {
        #expect(try verify(sizes, []).status == 64, "\(sizes)")
      }
      #expect(TemporaryFolder.entries(folder.path) == [])
    }

    @Test("a signal ends it with its job, and nothing stays", arguments: [SIGINT, SIGTERM])
    func stopped(signal: Int32) throws {
      let program = try Program(command("1,2", steps: 20_000, []), variables: ["TMPDIR": folder.path])
      while TemporaryFolder.entries(folder.path).isEmpty && program.seconds < 20 { usleep(10_000) }
      usleep(300_000)
      kill(program.process, signal)
      let outcome = program.wait(seconds: 30)
      #expect(outcome.status == 128 + signal && outcome.left == [], "\(outcome.status) \(outcome.errors)")
      // Open MPI's folder of this user is that of other jobs, too: if mpirun had no time to, nobody removes it empty.
      let left = TemporaryFolder.entries(folder.path).filter { name in
        !name.hasPrefix("ompi.") || !TemporaryFolder.entries("\(folder.path)/\(name)").isEmpty
      }
      #expect(left == [])
    }
  }
}
