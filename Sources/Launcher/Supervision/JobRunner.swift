import Glibc
import System

/// Runs a plan on this machine: checks the hosts, starts the ranks, and starts them again where that is wanted and may help.
public struct JobRunner: Sendable {
  public let plan: JobPlan
  public let machine: Machine
  /// Shows a line to the user.
  let say: @Sendable (String) -> Void

  public init(_ plan: JobPlan, on machine: Machine, say: @escaping @Sendable (String) -> Void) {
    self.plan = plan
    self.machine = machine
    self.say = say
  }

  /// Runs the job to its end; the status to exit with. A lone process under a debugger takes this process's place.
  ///
  /// - Parameter verbatim: the program's arguments as the bytes that they came in.
  public func run(verbatim: [[UInt8]]) throws(Failure) -> Int32 {
    var environment = MPIVariables.withheld(from: machine.environment, arguments: [])
    environment["LOCKSTEP_TERMINAL_COLUMNS"] = nil
    environment["LOCKSTEP_IN_PROCESS"] = nil
    for (name, value) in plan.variables { environment[name] = value }
    switch plan.start {
    case .debugger(let words):
      throw execute(path: words[0], arguments: words.map { Array($0.utf8) } + verbatim, environment: environment)
    case .directly(let direct):
      return try supervise(direct, .launcher, verbatim, environment) { JobPlan.direct($0) }
    case .mpirun(let path, let planned):
      try checkRequirements(of: planned, environment)
      let checked = try checkedHosts(of: planned, mpirun: path, environment)
      environment = Self.environment(for: checked, environment)
      return try supervise(
        checked, .mpirun, verbatim, environment,
        answering: { hostsThatAnswer($0, of: $1, mpirun: path, environment) }
      ) { [path] + MPIRunCommand.arguments(for: $0) }
    case .srun(let path, let planned):
      try checkRequirements(of: planned, environment)
      // The plan says how many there are; srun would complain that this does not fit.
      environment["SLURM_NTASKS_PER_NODE"] = nil
      return try supervise(planned, .srun, verbatim, environment) { [path] + SrunCommand.arguments(for: $0) }
    }
  }

  /// What mpirun gets of `environment`, when it is started for `plan`.
  public static func environment(for plan: LaunchPlan, _ environment: Environment) -> Environment {
    var environment = MPIVariables.withheld(from: environment, arguments: MPIRunCommand.arguments(for: plan))
    // The plan has the hosts: neither this variable nor a file of Open MPI's adds some.
    if plan.flavour == .openMPI4 { environment["OMPI_MCA_orte_default_hostfile"] = "none" }
    for (name, value) in MPIRunCommand.variables(for: plan) { environment[name] = value }
    return environment
  }

  /// - Parameters:
  ///   - answering: those of the hosts of a plan that answer and can take part, of so many as are named.
  ///   - command: the whole vector for a plan.
  private func supervise(
    _ first: LaunchPlan, _ starter: Supervisor.Starter, _ verbatim: [[UInt8]], _ environment: Environment,
    answering: ([String], LaunchPlan) -> [String] = { _, _ in [] }, command: (LaunchPlan) -> [String]
  ) throws(Failure) -> Int32 {
    var hosts = RestartHosts(first, leastRanks: plan.settings[.minProcesses] ?? 1)
    let most = plan.settings[.maxRestarts] ?? 0
    var attempt = 0
    var environment = environment
    // Those that the user has set are of another job.
    for name in RestartVariable.all { environment[name] = nil }
    while true {
      let current = hosts.plan
      let verdict = try supervisor(current, starter).run(
        command(current).dropLast(plan.arguments.count).map { Array($0.utf8) } + verbatim, environment: environment,
        hostfile: MPIRunCommand.hostfile(for: current))
      if let message = verdict.message { say("error: \(message)") }
      guard attempt < most, verdict.isWorthRestarting else {
        if attempt > 0 && verdict.status != 0 && attempt == most { say("no restart is left of --max_restarts \(most)") }
        return verdict.status
      }
      let lostBefore = hosts.lost
      if let host = verdict.lostHost, plan.settings[.excludeLostHosts] {
        hosts.leaveOut(host)
        // One that was lost before may be back when the pause is over.
        if lostBefore.isEmpty, let refusal = hosts.refusal {
          say(refusal)
          return verdict.status
        }
        say("host \(host) is left out: \(counted(hosts.plan.ranks, "rank")) from now on")
      }
      // It grows, for what is down needs time to come up.
      let seconds = 1 << min(attempt, 6)
      attempt += 1
      environment[RestartVariable.number] = "\(attempt)"
      environment[RestartVariable.ranks] = "\(first.ranks)"
      hosts.export(RestartVariable.all)
      say("restart \(attempt) of \(most) in \(seconds) s")
      if let signal = try Supervisor.pause(seconds: Double(seconds)) { return 128 + signal }
      let back = lostBefore.isEmpty ? [] : answering(lostBefore, first)
      hosts.takeBack(back)
      if let refusal = hosts.refusal {
        say(refusal)
        return verdict.status
      }
      for host in back { say("host \(host) answers again: \(counted(hosts.plan.ranks, "rank")) from now on") }
    }
  }

  func supervisor(_ plan: LaunchPlan, _ starter: Supervisor.Starter) -> Supervisor {
    var supervisor = Supervisor(
      launcher: machine.launcher, runID: JobProcesses.newRunID(), ranks: plan.ranks, say: say)
    supervisor.starter = starter
    supervisor.threadRanks = self.plan.threadRanks ?? 1
    // Hydra ends the others only if the rank has called MPI_Init.
    if !plan.flavour.isOpenMPI { supervisor.failureSeconds = 1 }
    supervisor.hosts = (plan.placement?.hosts ?? []).flatMap { host in
      Array(repeating: host.entry.name.description, count: host.ranks)
    }
    supervisor.isOnThisHostAlone = plan.placement == nil
    if starter == .mpirun { supervisor.shortage = Shortage.find(machine.environment) }
    supervisor.output = plan.output
    supervisor.debuggedRank = self.plan.debuggedRank
    let timeout = self.plan.settings[.stallTimeout]
    // A lone process waits for nobody, and a person may hold it with a debugger: it is watched where that is asked for.
    let isAlone = starter == .launcher
    let isWatched = timeout != 0 && self.plan.debuggedRank == nil && (!isAlone || timeout != nil)
    supervisor.watchdog = isWatched ? Watchdog(timeoutSeconds: timeout, isAlone: isAlone) : nil
    return supervisor
  }
}
