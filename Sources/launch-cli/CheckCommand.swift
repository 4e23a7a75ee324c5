import ArgumentParser
import Glibc
import Launcher
import System

/// Looks at everything that a job needs, without starting it.
struct CheckCommand: MachineCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Check hosts, programs, data, networks and memory, and measure all-reduces, before a job.",
    discussion: """
      Takes the options of run, and PROGRAM with its arguments. Where all ranks of it read files, as those of bench do, \
      its --model and --data are compared over the hosts. Names of models and tasks are looked up, and fetched. \
      Each finding is a line with the cause and the way out; the exit status is that of the first error.
      """)

  @Argument(parsing: .captureForPassthrough, help: "Options, PROGRAM and its arguments, as for run.")
  var arguments: [String] = []

  func run(on machine: Machine) throws {
    if arguments.first == "--help" || arguments.first == "-h" {
      try put(LaunchCommand.helpMessage(for: CheckCommand.self))
      return
    }
    let command = try RunCommand.parse(arguments)
    if let first = command.command.first, first.utf8.first == UInt8(ascii: "-") { throw RefusedFlags.refusal(first) }
    let settings = try command.options.settings(machine.environment)
    var program = command.command
    do throws(Failure) {
      // What the job would fetch as it starts is fetched now: that it can be had is part of the check.
      program = try NamedInputs.resolve(
        program, verbatim: Array(CommandLine.rawArguments.suffix(max(0, program.count - 1))), machine.environment,
        say: say
      ).command
    } catch {
      try show("error", "\(error)")
      fail(quietly: error)
    }
    for word in program where !command.command.contains(word) && word.utf8.first == UInt8(ascii: "/") {
      try show("ok", "\(CacheOrigin.shown(word)) is in \(word)")
    }
    let job = try JobPlan(
      JobRequest(program.isEmpty ? ["selftest"] : program, threadRanks: command.threadRankCount),
      settings, on: machine)
    for note in try command.options.checkIgnored() + job.notes { try show("warning", note) }
    let (mpirun, plan): (String, LaunchPlan)
    switch job.start {
    case .directly, .debugger: return try show("ok", "one process, started without MPI: nothing to check between hosts")
    case .srun: return try show("ok", "ranks are started by srun: Slurm knows its hosts, test tries them")
    case .mpirun(let path, let found): (mpirun, plan) = (path, found)
    }
    if let path = settings[.hostfile], let placement = plan.placement {
      let hosts = placement.hosts.map { "\($0.entry.name) \($0.ranks) (line \($0.entry.line))" }
      try show("ok", "\(path): \(plan.ranks) ranks: \(hosts.joined(separator: ", "))")
    }
    try show("ok", "\(plan.flavour.rawValue): \(mpirun)")
    var environment = machine.environment
    for (name, value) in job.variables { environment[name] = value }
    let runner = JobRunner(job, on: machine, say: say)
    try runner.checkRequirements(of: plan, environment)
    environment = JobRunner.environment(for: plan, environment)
    if plan.remote.isSlurm {
      try show("ok", "the hosts are Slurm's, which are reached through Slurm alone: only the all-reduces are tried")
      return try measure(plan, runner, mpirun, environment)
    }
    let selftest = try machine.programs.path(of: "selftest")
    let result = try runner.preflight(
      of: plan, mpirun: mpirun, programs: plan.program == selftest ? [] : [selftest], isThorough: true, environment)
    for finding in result.findings {
      try show(finding.kind == .fine ? "ok" : finding.kind.rawValue, "\(finding.failure)")
    }
    if let error = result.findings.first(where: { $0.kind == .error }) { fail(quietly: error.failure) }
    guard plan.flavour.isOpenMPI else {
      try show("warning", "all-reduces are not measured: the package's own programs need Open MPI")
      return
    }
    var chosen = plan
    if let network = result.advisedNetwork { chosen.networks = [network] }
    try measure(chosen, runner, mpirun, environment)
  }

  private func measure(
    _ plan: LaunchPlan, _ runner: JobRunner, _ mpirun: String, _ environment: Environment
  ) throws(Failure) {
    do throws(Failure) { try runner.measureNetwork(plan, mpirun: mpirun, environment) } catch {
      try show("error", "\(error)")
      fail(quietly: error)
    }
  }

  private func show(_ kind: String, _ text: String) throws(Failure) {
    try put("\(kind)\(String(repeating: " ", count: 8 - kind.utf8.count))\(text.escapingControlCharacters)")
  }

  /// Ends with the status of what was shown already.
  private func fail(quietly failure: Failure) -> Never { Glibc.exit(failure.status.rawValue) }
}
