import TestSupport

/// What a finished process left.
struct Outcome {
  /// The exit status, or 128 + the signal.
  var status: Int32
  /// Standard output, then standard error.
  var output: String

  var lines: [String] { output.split(separator: "\n").map(String.init) }
}

/// Runs `arguments` to the end, with `variables` added to a small environment.
func spawn(_ arguments: [String], variables: [String: String] = [:], seconds: Double = 120) throws -> Outcome {
  let outcome = try Program.run(arguments, variables: variables, seconds: seconds)
  return Outcome(status: outcome.status, output: outcome.output + outcome.errors)
}

/// The program `rankcheck`, which is built beside the tests.
func rankcheck() throws -> String { try Program.built("rankcheck") }

/// Runs `rankcheck` as `ranks` processes under mpirun.
func mpirun(ranks: Int, _ arguments: String...) throws -> Outcome {
  try spawn(Program.mpirun(ranks: ranks) + [rankcheck()] + arguments)
}
