import System

/// `mpirun` of Open MPI up to version 4.
enum OpenMPI4Command {
  static func options(for plan: LaunchPlan) -> [MPIRunCommand.Option] {
    var options: [MPIRunCommand.Option] = []
    func add(_ words: String..., comment: String) { options.append(.init(words, comment)) }

    if plan.placement != nil {
      add("--hostfile", plan.hostfilePath, comment: "the hosts, checked and written afresh")
    }
    add("--np", "\(plan.ranks)", comment: "ranks")
    if plan.isRoot {
      add("--allow-run-as-root", comment: "started as root; Open MPI refuses unless told")
    }
    if plan.isOversubscribed {
      add("--oversubscribe", comment: "\(plan.ranks) ranks on \(counted(plan.cores, "core"))")
    }
    options += OpenMPI.placing(plan, binding: plan.binding)
    add("--stdin", plan.readsInput ? "0" : "none", comment: plan.inputComment)
    if let folder = plan.workingFolder { add("--wdir", folder, comment: "the folder that ranks start in") }
    add("--mca", "orte_abort_on_non_zero_status", "1", comment: "one rank failed: end them all")
    add("--mca", "orte_base_help_aggregate", "0", comment: "every rank's message, none folded")
    options += OpenMPI.speaking(plan, memory: "vader")
    if plan.mustYield { add("--mca", "mpi_yield_when_idle", "1", comment: "a waiting rank gives its core away") }
    if plan.placement != nil {
      if plan.keepsDomains {
        add("--mca", "orte_keep_fqdn_hostnames", "1", comment: "a.x.org and a.y.org are two hosts")
      }
      options += OpenMPI.reaching(plan, flag: "--mca", control: "oob_tcp_if_include", shell: "plm_rsh")
    }
    return options + OpenMPI.exporting(plan)
  }
}

/// `mpirun` of Open MPI from version 5, which is PRRTE's `prterun`: parameters of the runtime have a flag of their own,
/// and what were options are qualifiers.
///
/// That one failed rank ends all is its default; the directive of `--runtime-options` that says so has had two names
/// within 5.0, and an unknown one is an error.
enum OpenMPI5Command {
  static func options(for plan: LaunchPlan) -> [MPIRunCommand.Option] {
    var options: [MPIRunCommand.Option] = []
    func add(_ words: String..., comment: String) { options.append(.init(words, comment)) }

    if plan.placement != nil {
      add("--hostfile", plan.hostfilePath, comment: "the hosts, checked and written afresh")
    }
    add("--np", "\(plan.ranks)", comment: "ranks")
    if plan.isRoot {
      add("--allow-run-as-root", comment: "started as root; Open MPI refuses unless told")
    }
    options += OpenMPI.placing(
      plan, binding: plan.binding == "socket" ? "package" : plan.binding,
      qualifier: plan.isOversubscribed ? ":OVERSUBSCRIBE" : "")
    add("--stdin", plan.readsInput ? "0" : "none", comment: plan.inputComment)
    if let folder = plan.workingFolder { add("--wdir", folder, comment: "the folder that ranks start in") }
    options += OpenMPI.speaking(plan, memory: "sm")
    if plan.mustYield { add("--mca", "mpi_yield_when_idle", "1", comment: "a waiting rank gives its core away") }
    if plan.placement != nil {
      if plan.keepsDomains {
        add("--prtemca", "prte_keep_fqdn_hostnames", "1", comment: "a.x.org and a.y.org are two hosts")
      }
      options += OpenMPI.reaching(plan, flag: "--prtemca", control: "prte_if_include", shell: "plm_ssh")
    }
    return options + OpenMPI.exporting(plan)
  }
}

/// What all versions of Open MPI have in common.
private enum OpenMPI {
  /// Which core is whose.
  static func placing(_ plan: LaunchPlan, binding: String, qualifier: String = "") -> [MPIRunCommand.Option] {
    let cores = plan.binding == "core" && plan.threadsPerRank > 1 ? ":PE=\(plan.threadsPerRank)" : ""
    let comment = cores.isEmpty ? "" : ", a core for each thread"
    return [
      .init(["--map-by", "slot\(cores)\(qualifier)"], "each host filled before the next\(comment)"),
      .init(
        ["--bind-to", binding],
        binding == "none" ? "the default would pin a rank and all its threads to one core" : "as asked"),
    ]
  }

  /// How ranks speak with one another, where that is known.
  ///
  /// - Parameter memory: the component for ranks of one host.
  static func speaking(_ plan: LaunchPlan, memory: String) -> [MPIRunCommand.Option] {
    let copies =
      memory == "vader" ? ["btl_vader_single_copy_mechanism", "none"] : ["smsc", "^cma,knem,xpmem"]
    let twice =
      plan.copiesTwice
      ? [MPIRunCommand.Option(["--mca"] + copies, "the system forbids ranks to read one another's memory")] : []
    if plan.placement != nil && plan.isMemoryScarce {
      return [.init(["--mca", "btl", "^\(memory)"], "a host has too little memory for its ranks to speak through")]
    }
    guard plan.choosesMemory else { return twice }
    if plan.isMemoryScarce {
      return [
        .init(["--mca", "pml", "ob1"], "all ranks are on this host: no search for networks, which takes 0.2 s"),
        .init(["--mca", "btl", "self,tcp"], "there is too little memory to speak through"),
        .init(["--mca", "btl_tcp_if_include", "lo"], "they speak over the loopback interface"),
      ]
    }
    return twice + [
      .init(["--mca", "pml", "ob1"], "all ranks are on this host: no search for networks, which takes 0.2 s"),
      .init(["--mca", "btl", "self,\(memory)"], "they speak through memory"),
    ]
  }

  /// What only a job on several hosts needs.
  ///
  /// - Parameters:
  ///   - flag: what sets a parameter of the runtime.
  ///   - control: the parameter for the runtime's own networks.
  ///   - shell: the component that reaches other hosts.
  static func reaching(_ plan: LaunchPlan, flag: String, control: String, shell: String) -> [MPIRunCommand.Option] {
    var options: [MPIRunCommand.Option] = []
    func parameter(_ flag: String, _ name: String, _ value: String, _ comment: String) {
      options.append(.init([flag, name, value], comment))
    }
    // Without these a cut cable goes unnoticed for eight minutes.
    parameter(flag, "oob_tcp_keepalive_time", "10", "seconds of silence before a host is asked whether it lives")
    parameter(flag, "oob_tcp_keepalive_intvl", "5", "seconds between questions")
    parameter(flag, "oob_tcp_keepalive_probes", "3", "questions without answer: the host is lost")
    if !plan.networks.isEmpty {
      let list = plan.networks.joined(separator: ",")
      parameter(flag, control, list, "networks between the hosts, for control")
      parameter("--mca", "btl_tcp_if_include", list, "networks between the hosts, for data")
    }
    if plan.remote.isSlurm { return options }
    parameter(flag, "\(shell)_no_tree_spawn", "1", "hosts are reached from here, not from one another")
    parameter(flag, "\(shell)_agent", plan.remote.shell ?? "ssh", "runs a command on a host")
    if plan.remote.shell == nil {
      parameter(
        flag, "\(shell)_args", plan.remote.sshOptions.joined(separator: " "),
        "never a password prompt, never a long wait")
    }
    return options
  }

  static func exporting(_ plan: LaunchPlan) -> [MPIRunCommand.Option] {
    // MPI's own messages go to the launcher; a rank that inherited that descriptor number would write to nowhere.
    [.init(["-x", "\(MPIRunCommand.outputVariable)=2"], "a rank's own MPI messages go to its stderr")]
      + plan.exportedVariables.map { .init(["-x", $0], "exported to every rank") }
  }
}
