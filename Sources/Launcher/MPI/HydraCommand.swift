import System

/// `mpirun` of MPICH and of Intel MPI, whose process managers, both named Hydra, have most flags in common.
enum HydraCommand {
  static func options(for plan: LaunchPlan) -> [MPIRunCommand.Option] {
    var options: [MPIRunCommand.Option] = []
    func add(_ words: String..., comment: String) { options.append(.init(words, comment)) }
    let isIntel = plan.flavour == .intel

    if plan.placement != nil {
      // Intel's -f takes the names alone and deals out ranks evenly.
      add(isIntel ? "-machinefile" : "-f", plan.hostfilePath, comment: "the hosts with their ranks, written afresh")
    }
    add("-n", "\(plan.ranks)", comment: "ranks")
    options += isIntel ? intelBinding(plan) : binding(plan)
    if isIntel { add("-s", "none", comment: "no rank reads the terminal") }
    if let folder = plan.workingFolder { add("-wdir", folder, comment: "the folder that ranks start in") }
    if plan.placement != nil {
      if let network = plan.networks.first { add("-iface", network, comment: "the interface between the hosts") }
      if !plan.remote.isSlurm {
        // As rsh, a shell of the user's own gets the host's name first; as ssh it would get ssh's options before.
        add("-launcher", plan.remote.shell == nil ? "ssh" : "rsh", comment: "how hosts are reached")
        if let shell = plan.remote.shell { add("-launcher-exec", shell, comment: "runs a command on a host") }
      }
    }
    if !plan.exportedVariables.isEmpty {
      add("-genvlist", plan.exportedVariables.joined(separator: ","), comment: "exported to every rank")
    }
    return options
  }

  private static func binding(_ plan: LaunchPlan) -> [MPIRunCommand.Option] {
    let cores = plan.binding == "core" && plan.threadsPerRank > 1 ? ":\(plan.threadsPerRank)" : ""
    return [
      .init(["-bind-to", plan.binding + cores], plan.binding == "none" ? "threads of a rank use any core" : "as asked")
    ]
  }

  private static func intelBinding(_ plan: LaunchPlan) -> [MPIRunCommand.Option] {
    let domain = plan.binding == "core" && plan.threadsPerRank > 1 ? "\(plan.threadsPerRank):compact" : plan.binding
    return [
      plan.binding == "none"
        ? .init(["-genv", "I_MPI_PIN", "0"], "the default would pin a rank and all its threads to some cores")
        : .init(["-genv", "I_MPI_PIN_DOMAIN", domain], "what a rank is bound to, as asked")
    ]
  }

  /// The options of ssh, for which Hydra has variables only.
  static func variables(for plan: LaunchPlan) -> [(name: String, value: String)] {
    guard plan.placement != nil, plan.remote.shell == nil, !plan.remote.isSlurm else { return [] }
    let name = plan.flavour == .intel ? "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS" : "HYDRA_LAUNCHER_EXTRA_ARGS"
    return [(name, plan.remote.sshOptions.joined(separator: " "))]
  }

  /// `host:ranks` a line.
  static func hostfile(_ placement: Placement) -> String {
    placement.hosts.map { host in
      "\(host.nameForMPI ?? "\(host.entry.name)"):\(host.ranks)" + (host.entry.user.map { " user=\($0)" } ?? "") + "\n"
    }.joined()
  }

  static func check(_ plan: LaunchPlan) throws(Failure) {
    let name = plan.flavour.rawValue
    if plan.networks.count > 1 || plan.networks.contains(where: { $0.utf8.contains(UInt8(ascii: "/")) }) {
      throw Failure(
        .usage, at: "network",
        "\"\(plan.networks.joined(separator: ","))\", but \(name) takes one interface, expected such as eth0")
    }
    for host in plan.placement?.hosts ?? [] {
      if let port = host.entry.port {
        throw Failure(
          .configuration, at: "host \(host.entry.name)", "port=\(port), but \(name) takes one port for all hosts",
          hint: "--ssh_port \(port)")
      }
      if plan.flavour == .intel, let user = host.entry.user {
        throw Failure(
          .configuration, at: "host \(host.entry.name)", "user \(user), but \(name) takes none in the hostfile",
          hint: "Host and User in ~/.ssh/config")
      }
    }
  }
}
