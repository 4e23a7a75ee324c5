import Glibc
import Launcher
import System

/// What the environment, the system and others' variables mean for a job.
extension Job {
  /// How other hosts are reached.
  static func remote(_ settings: Settings, _ context: LaunchContext) -> LaunchPlan.Remote {
    var remote = LaunchPlan.Remote(
      shell: settings.text("remote_shell"), port: settings.integer("ssh_port"), identity: settings.text("ssh_identity"))
    // Open MPI's variables know alternatives, and options of ssh.
    if case .variable? = settings.origin("remote_shell") {
      let choices = (remote.shell ?? "").split(separator: ":").map { $0.split(separator: " ").map(String.init) }
      let found = choices.first { words in
        words.first.map { $0.contains("/") || context.programs.find($0) != nil } ?? false
      }
      let words = found ?? choices.first ?? []
      remote.shell = words.joined(separator: " ")
      if words.first == "ssh" {
        remote.shell = nil
        remote.options = Array(words.dropFirst())
      }
    }
    if remote.shell == nil, let options = context.environment["OMPI_MCA_plm_rsh_args"] {
      remote.options += options.split(separator: " ").map(String.init)
    }
    return remote
  }

  /// `plan` as it can run on this machine under `mpirun`.
  static func fitted(_ plan: LaunchPlan, _ context: LaunchContext) -> LaunchPlan {
    var plan = plan
    let environment = context.environment
    plan.isTransportGiven = LaunchPlan.transportParameters.contains { environment["OMPI_MCA_\($0)"] != nil }
    plan.copiesTwice =
      plan.flavour.isOpenMPI && environment["OMPI_MCA_btl_vader_single_copy_mechanism"] == nil
      && !HostRequirements.readsOtherMemory
    plan.isMemoryScarce = scarceMemory(plan, context) != nil
    return plan
  }

  /// What others' variables do to a job that is started with `arguments`.
  static func notes(_ settings: Settings, _ context: LaunchContext, arguments: [String]) -> [String] {
    let obeyed = settings.values.values.compactMap { value in
      if case .variable(let name) = value.origin { name } else { nil }
    }
    return MPIVariables.notes(
      context.environment, arguments: arguments, obeyed: obeyed, leftovers: context.leftovers)
  }

  /// Where too little memory is left for MPI to keep what the ranks of this machine share, and how much; nil where there is
  /// enough, or somebody else decides how ranks speak.
  private static func scarceMemory(_ plan: LaunchPlan, _ context: LaunchContext) -> (path: String, free: Int)? {
    let own = plan.placement?.hosts.first { context.ownNames.contains("\($0.entry.name)") }
    let ranks = plan.placement == nil ? plan.ranks : own?.ranks ?? 0
    guard plan.flavour.isOpenMPI, !plan.isTransportGiven, ranks > 1, plan.placement != nil || plan.choosesMemory else {
      return nil
    }
    return HostRequirements.scarceMemory(ranks: ranks, environment: context.environment)
  }

  /// What is scarce, for the user.
  static func scarcity(_ plan: LaunchPlan, _ context: LaunchContext) -> [String] {
    scarceMemory(plan, context).map { path, free in
      ["\(path) has \(free >> 20) MB free, too little for MPI's ranks here: they speak over TCP"]
    } ?? []
  }

  /// Refuses what mpirun, or the Slurm that it uses, cannot work with here.
  func checkSurroundings(_ plan: LaunchPlan, _ environment: Environment) throws(Failure) {
    try HostRequirements(environment: environment, hostName: context.hostName).check(plan)
    guard plan.remote.isSlurm, plan.placement != nil else { return }
    let id = environment["SLURM_JOB_ID"] ?? environment["SLURM_JOBID"] ?? ""
    let place = "SLURM_JOB_ID=\(id)"
    guard context.programs.find("srun") != nil else {
      throw Failure(
        .unavailable, at: place, "its hosts are reached by srun, which is not on the PATH",
        hint: "unset SLURM_JOB_ID if the allocation is over")
    }
    guard let squeue = context.programs.find("squeue"),
      let text = capturedOutput([squeue, "-h", "-j", id, "-o", "%T"], environment: environment, seconds: 5)
    else { return }
    guard text.utf8.allSatisfy({ $0 <= 0x20 }) || text.utf8.firstIndex(ofText: "Invalid job id") != nil else { return }
    throw Failure(
      .unavailable, at: place, "Slurm knows no such job any more", hint: "unset SLURM_JOB_ID, or make an allocation")
  }

  /// What mpirun gets of `environment`, when it is started for `plan`.
  static func environment(for plan: LaunchPlan, _ environment: Environment) -> Environment {
    var environment = MPIVariables.withheld(from: environment, arguments: MPIRunCommand.arguments(for: plan))
    // The plan has the hosts: neither this variable nor a file of Open MPI's adds some.
    if plan.flavour == .openMPI4 { environment["OMPI_MCA_orte_default_hostfile"] = "none" }
    return environment
  }
}
