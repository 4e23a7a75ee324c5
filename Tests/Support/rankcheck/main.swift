// One rank of the tests of Collectives: started by mpirun, as threads (LOCKSTEP_IN_PROCESS) or alone.
import Collectives
import Glibc
import System

let arguments = Array(CommandLine.arguments.dropFirst())
guard let name = arguments.first, let check = checks[name] else {
  print("rankcheck: expected one of \(checks.keys.sorted())")
  exit(ExitStatus.usage.rawValue)
}
let number = arguments.count > 1 ? Int(arguments[1]) ?? 0 : 0

// What goes wrong before MPI is there.
let environment = Environment.ofThisProcess()
let ownRank = environment["OMPI_COMM_WORLD_RANK"].flatMap { Int($0) } ?? 0
if let odd = environment["NEVER_STARTS"].flatMap({ Int($0) }), odd == ownRank { sleep(600) }
if let odd = environment["ENDS_EARLY"].flatMap({ Int($0) }), odd == ownRank { exit(0) }

let status = withCommunicator(environment: environment, report: { writeLine("error: \($0)", to: STDERR_FILENO) }) {
  (communicator) throws(Failure) in
  try check(communicator, number)
}
exit(status.rawValue)
