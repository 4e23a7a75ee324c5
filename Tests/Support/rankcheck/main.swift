// One rank of the tests of Collectives: started by mpirun, as threads (LOCKSTEP_IN_PROCESS) or alone.
import Collectives
import FileSystem
import Glibc

let arguments = Array(CommandLine.arguments.dropFirst())
guard let name = arguments.first, let check = checks[name] else {
  print("rankcheck: expected one of \(checks.keys.sorted())")
  exit(ExitStatus.usage.rawValue)
}
let number = arguments.count > 1 ? Int(arguments[1]) ?? 0 : 0

let status = withCommunicator(report: { writeLine("error: \($0)", to: STDERR_FILENO) }) {
  (communicator) throws(Failure) in
  try check(communicator, number)
}
exit(status.rawValue)
