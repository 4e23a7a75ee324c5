import FileSystem
import Glibc
import Launcher

/// What the launcher finds around itself, and the way from options to a running job.
struct LaunchContext {
  let launcher: String
  let programs: Programs
  var environment: Environment
  let cores = Cores.ofThisProcess().usable

  init() {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    let length = max(0, readlink("/proc/self/exe", &buffer, Int(PATH_MAX)))
    launcher = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    environment = .ofThisProcess()
    environment.removeRankVariables()
    programs = Programs(folder: parent(of: launcher), searchPath: environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin")
  }

  /// How a program is started.
  enum Start {
    case directly(path: String, threadRanks: Int?)
    case mpirun(path: String, LaunchPlan)
  }

  struct Plan {
    var start: Start
    var arguments: [String]
    var threadsPerRank: Int
    /// Variables that the program gets, besides those that it inherits.
    var variables: [(name: String, value: String)]
  }

  func plan(ranks: Int?, threadRanks: Int?, threads: Int?, command: [String]) throws(Failure) -> Plan {
    if ranks != nil && threadRanks != nil {
      throw Failure(.usage, "--num_processes and --in_process contradict each other, expected one of them")
    }
    if let ranks { try check(ranks, "--num_processes", upTo: 65_536) }
    if let threadRanks { try check(threadRanks, "--in_process", upTo: 1024) }
    let program = command[0]
    let path = try programs.path(of: program)
    let count = ranks ?? (Programs.isSingleProcess(program) ? 1 : LaunchPlan.defaultRanks(cores: cores))
    let isDirect = threadRanks != nil || count == 1
    let perRank = try threadCount(flag: threads, ranks: threadRanks ?? count)

    var variables = [
      ("LOCKSTEP_NUM_THREADS", "\(perRank)"), ("OPENBLAS_NUM_THREADS", "\(perRank)"), ("OMP_NUM_THREADS", "\(perRank)"),
    ]
    if let core = environment["OPENBLAS_CORETYPE"] { variables.append(("OPENBLAS_CORETYPE", core)) }
    if let threadRanks { variables.append(("LOCKSTEP_IN_PROCESS", "\(threadRanks)")) }
    if !isDirect, let columns = terminalColumns() { variables.append(("LOCKSTEP_TERMINAL_COLUMNS", "\(columns)")) }
    let arguments = Array(command.dropFirst())
    if isDirect {
      return Plan(
        start: .directly(path: path, threadRanks: threadRanks), arguments: arguments, threadsPerRank: perRank,
        variables: variables)
    }
    guard let mpirun = programs.find("mpirun") else {
      throw Failure(.unavailable, "mpirun is not on the PATH", hint: "apt-get install openmpi-bin")
    }
    let plan = LaunchPlan(
      program: path, arguments: arguments, ranks: count, threadsPerRank: perRank, cores: cores, isRoot: geteuid() == 0,
      exportedVariables: [JobProcesses.variable] + variables.map(\.0))
    return Plan(start: .mpirun(path: mpirun, plan), arguments: arguments, threadsPerRank: perRank, variables: variables)
  }

  /// The command as `--dry-run` prints it.
  func description(of plan: Plan) throws(Failure) -> String {
    let variables = plan.variables.map { "\($0.name)=\(shellQuoted($0.value))\n" }.joined()
    switch plan.start {
    case .directly(let path, _):
      return variables + ([path] + plan.arguments).map(shellQuoted).joined(separator: " ") + "\n"
    case .mpirun(let path, let launchPlan):
      return variables + MPIRunCommand.commented(path, for: launchPlan)
    }
  }

  /// Runs the job and ends this process with its status.
  ///
  /// - Parameter verbatim: the program's arguments as the bytes that they came in.
  func start(_ plan: Plan, verbatim: [[UInt8]]) throws(Failure) -> Never {
    var environment = self.environment
    environment["LOCKSTEP_TERMINAL_COLUMNS"] = nil
    if case .directly(_, nil) = plan.start { environment["LOCKSTEP_IN_PROCESS"] = nil }
    if case .mpirun = plan.start { environment["LOCKSTEP_IN_PROCESS"] = nil }
    for (name, value) in plan.variables { environment[name] = value }
    switch plan.start {
    case .directly(let path, _):
      throw execute(path: path, arguments: [Array(path.utf8)] + verbatim, environment: environment)
    case .mpirun(let path, let launchPlan):
      let words = [path] + MPIRunCommand.arguments(for: launchPlan).dropLast(plan.arguments.count)
      let supervisor = Supervisor(launcher: launcher, runID: JobProcesses.newRunID(), say: say)
      let verdict = try supervisor.run(words.map { Array($0.utf8) } + verbatim, environment: environment)
      if let message = verdict.message { say("error: \(message)") }
      exit(verdict.status)
    }
  }

  private func check(_ count: Int, _ option: String, upTo limit: Int) throws(Failure) {
    guard 1...limit ~= count else { throw Failure(.usage, at: option, "\(count), expected 1 to \(limit)") }
  }

  /// The flag, else the variables by which users and batch systems ask for threads, else the cores dealt out.
  private func threadCount(flag: Int?, ranks: Int) throws(Failure) -> Int {
    if let flag {
      try check(flag, "--num_cpu_threads_per_process", upTo: 1024)
      return flag
    }
    for name in ["LOCKSTEP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"] {
      guard let text = environment[name] else { continue }
      guard let count = Int(text), 1...1024 ~= count else {
        throw Failure(.usage, at: name, "\"\(text)\", expected 1 to 1024")
      }
      return count
    }
    return LaunchPlan.defaultThreads(cores: cores, ranks: ranks)
  }

  /// Columns of the terminal that shows the ranks' output; nil where it goes elsewhere.
  private func terminalColumns() -> Int? {
    var size = winsize()
    guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 else { return nil }
    return size.ws_col > 0 ? Int(size.ws_col) : 80
  }
}
