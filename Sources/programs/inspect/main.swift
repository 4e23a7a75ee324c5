import ArgumentParser
import FileSystem
import Glibc

// inspect looks at one process's worth of the work and never talks to other ranks: where a launcher starts several, the
// first one answers.
if let rank = launchedRank(), rank != 0 { exit(ExitStatus.success.rawValue) }

do {
  var command = try Inspect.parseAsRoot()
  try command.run()
} catch let failure as Failure {
  printError("inspect: error: \(failure)")
  exit(failure.status.rawValue)
} catch {
  Inspect.exit(withError: error)
}
