import System

/// What is looked at before a job starts.
extension JobRunner {
  /// Asks all hosts of `plan`.
  ///
  /// - Parameters:
  ///   - programs: further programs that the hosts need.
  ///   - isThorough: whether large files of data are read too.
  public func preflight(
    of plan: LaunchPlan, mpirun: String, programs: [String] = [], isThorough: Bool = false, _ environment: Environment
  ) throws(Failure) -> Preflight.Result {
    // Open MPI splits there, too.
    let words = (plan.remote.shell ?? "ssh").split(separator: " ").map(String.init)
    let shell = words.first ?? "ssh"
    let others = (plan.placement?.hosts ?? []).contains { !machine.names.contains("\($0.entry.name)") }
    guard let path = shell.contains("/") || !others ? shell : machine.programs.find(shell) else {
      throw Failure(.unavailable, at: shell, "is not on the PATH", hint: "apt-get install openssh-client")
    }
    // Each rank runs under an agent, which is the launcher.
    let needed = [plan.program] + programs + plan.agent.prefix(1)
    // By its name, as the hosts' own shells find it, unless the user named one.
    let isStandard = machine.programs.find("mpirun") == mpirun
    var preflight = Preflight(
      plan: plan, shellPath: path, mpirun: isStandard ? "mpirun" : mpirun,
      folder: plan.workingFolder ?? machine.folder, programs: needed,
      samePrograms: Set(needed.filter(machine.programs.isOwn)), ownNames: machine.names)
    preflight.shellOptions = Array(words.dropFirst())
    preflight.hostfile = self.plan.settings[.hostfile]
    preflight.isThorough = isThorough
    if machine.programs.isOwn(plan.program) {
      // Where rank 0 alone reads files, no other host needs them.
      let isReadByAll = !Programs.readOnMainOnly.contains(lastComponent(of: plan.program))
      preflight.data = [
        "--model", "--model-name-or-path", "--data", "--train-file", "--validation-file", "--test-file",
      ].filter { _ in isReadByAll }.compactMap { Self.value(of: $0, in: plan.arguments) }
      if isThorough && !preflight.data.isEmpty { preflight.seconds = 60 }
      preflight.rankBytes = rankBytes(of: plan, environment)
    }
    return try preflight.run(environment: environment)
  }

  /// Asks the hosts where there are several, and returns the plan as it can run: an error ends the launch, the rest is
  /// said.
  func checkedHosts(of plan: LaunchPlan, mpirun: String, _ environment: Environment) throws(Failure) -> LaunchPlan {
    guard let hosts = plan.placement?.hosts, !plan.remote.isSlurm else { return plan }
    if hosts.allSatisfy({ machine.names.contains("\($0.entry.name)") }) { return plan }
    let isQuiet = self.plan.isQuiet
    let result = try preflight(of: plan, mpirun: mpirun, environment)
    if let error = result.findings.first(where: { $0.kind == .error }) { throw error.failure }
    for finding in result.findings where finding.kind == .warning && !isQuiet { say("note: \(finding.failure)") }
    var plan = plan
    plan.isMemoryScarce = plan.isMemoryScarce || (result.isMemoryScarce && !plan.isTransportGiven)
    // Who has told MPI itself knows better.
    let isTold = ["btl_tcp_if_include", "btl_tcp_if_exclude", "oob_tcp_if_include", "oob_tcp_if_exclude"].contains {
      environment["OMPI_MCA_\($0)"] != nil
    }
    guard let network = result.advisedNetwork, plan.flavour.isOpenMPI, !isTold else { return plan }
    if !isQuiet { say("note: using the network \(network), which all hosts have; --network chooses another") }
    plan.networks = [network]
    return plan
  }

  /// Those of the hosts `names` of `plan` that answer and can take part. None of Slurm's, which are asked by nobody.
  func hostsThatAnswer(_ names: [String], of plan: LaunchPlan, mpirun: String, _ environment: Environment) -> [String] {
    guard let placement = plan.placement, !plan.remote.isSlurm else { return [] }
    var asked = plan
    asked.placement = Placement(hosts: placement.hosts.filter { names.contains($0.entry.name.description) })
    asked.ranks = asked.placement?.ranks ?? 0
    guard let result = try? preflight(of: asked, mpirun: mpirun, environment) else { return [] }
    let errors = result.findings.filter { $0.kind == .error }.map { $0.failure.place ?? "" }
    return names.filter { name in !errors.contains { $0 == "host \(name)" || !$0.hasPrefix("host ") } }
  }

  /// Refuses what mpirun, or the Slurm that it uses, cannot work with here.
  public func checkRequirements(of plan: LaunchPlan, _ environment: Environment) throws(Failure) {
    try HostRequirements(environment: environment, hostName: machine.hostName).check(plan)
    guard plan.remote.isSlurm, plan.placement != nil else { return }
    let id = environment["SLURM_JOB_ID"] ?? environment["SLURM_JOBID"] ?? ""
    let place = "SLURM_JOB_ID=\(id)"
    guard machine.programs.find("srun") != nil else {
      throw Failure(
        .unavailable, at: place, "its hosts are reached by srun, which is not on the PATH",
        hint: "unset SLURM_JOB_ID if the allocation is over")
    }
    guard let squeue = machine.programs.find("squeue"),
      let text = capturedOutput([squeue, "-h", "-j", id, "-o", "%T"], environment: environment, seconds: 5)
    else { return }
    guard text.utf8.allSatisfy({ $0 <= 0x20 }) || text.utf8.firstIndex(ofText: "Invalid job id") != nil else { return }
    throw Failure(
      .unavailable, at: place, "Slurm knows no such job any more", hint: "unset SLURM_JOB_ID, or make an allocation")
  }

  /// The memory that each rank takes, by the self-test's estimate; nil where that cannot be told.
  private func rankBytes(of plan: LaunchPlan, _ environment: Environment) -> Int? {
    guard plan.program.hasSuffix("/\(Programs.standard)"),
      let model = ["--model", "--model-name-or-path"].lazy.compactMap({ Self.value(of: $0, in: plan.arguments) }).first,
      let data = Self.value(of: "--data", in: plan.arguments), let path = try? machine.programs.path(of: "selftest")
    else { return nil }
    var words = [path, "memory", model, "--data", data, "--json", "-n", "\(plan.ranks)"]
    words += ["--num-machines", "\(plan.placement?.hosts.count ?? 1)"]
    let options = [
      ("--batch-size", "--batch-size"), ("--batch-size", "--per-device-train-batch-size"),
      ("--max-length", "--max-length"), ("--task", "--task"), ("--task", "--task-name"),
    ]
    for (name, spelling) in options {
      if let value = Self.value(of: spelling, in: plan.arguments) { words += [name, value] }
    }
    return MemoryEstimate.rankBytes(words, environment: environment)
  }

  /// The value of an option in a program's arguments: `--data X` or `--data=X`, with dashes or underscores in the name.
  package static func value(of option: String, in arguments: [String]) -> String? {
    for (index, argument) in arguments.enumerated() {
      let name = argument.prefix { $0 != "=" }.replacing("_", with: "-")
      guard name.utf8.elementsEqual(option.utf8) else { continue }
      if argument.utf8.count == option.utf8.count { return index + 1 < arguments.count ? arguments[index + 1] : nil }
      return String(argument.dropFirst(option.utf8.count + 1))
    }
    return nil
  }

  /// Measures all-reduces, with one rank on each host where there are several.
  public func measureNetwork(_ plan: LaunchPlan, mpirun: String, _ environment: Environment) throws(Failure) {
    var plan = plan
    plan.program = try machine.programs.path(of: "selftest")
    plan.arguments = ["network"]
    if var placement = plan.placement, placement.hosts.count > 1 {
      for index in placement.hosts.indices { placement.hosts[index].ranks = 1 }
      plan.placement = placement
      plan.ranks = placement.hosts.count
    }
    plan.output = JobOutput.Options()
    plan.extraArguments += ["--timeout", "60"]
    let words = [mpirun] + MPIRunCommand.arguments(for: plan)
    let verdict = try supervisor(plan, .mpirun).run(
      words.map { Array($0.utf8) }, environment: environment, hostfile: MPIRunCommand.hostfile(for: plan))
    guard verdict.status != 0 else { return }
    throw Failure(
      .unavailable, at: "all-reduce",
      verdict.message ?? (verdict.status == 110 ? "did not end within 60 s" : "ended with status \(verdict.status)"),
      hint: "a firewall, or a network that does not join the hosts: --network names the right one")
  }
}
