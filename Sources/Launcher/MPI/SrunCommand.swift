/// The command line of Slurm's `srun` for a plan.
public enum SrunCommand {
  /// The argument vector, without the path of srun itself.
  public static func arguments(for plan: LaunchPlan) -> [String] { options(for: plan).flatMap(\.words) }

  public static func options(for plan: LaunchPlan) -> [MPIRunCommand.Option] {
    var options: [MPIRunCommand.Option] = []
    func add(_ words: String..., comment: String) { options.append(MPIRunCommand.Option(words, comment)) }
    add("--mpi=pmix", comment: "ranks find one another through PMIx")
    add("--ntasks=\(plan.ranks)", comment: "ranks")
    if let hosts = plan.placement?.hosts {
      add("--nodes=\(hosts.count)", comment: "hosts")
      add(
        "--nodelist=\(hosts.map(\.entry.name.description).joined(separator: ","))", comment: "these of the allocation")
    }
    add("--cpus-per-task=\(plan.threadsPerRank)", comment: "threads of each rank")
    add("--kill-on-bad-exit=1", comment: "one rank failed: end them all")
    add("--export=ALL", comment: "variables of this environment")
    add("--input=\(plan.readsInput ? "0" : "none")", comment: plan.inputComment)
    add("--unbuffered", comment: "output at once and as it is")
    if let folder = plan.workingFolder { add("--chdir=\(folder)", comment: "the folder that ranks start in") }
    add("--", comment: "what follows is the program")
    if !plan.agent.isEmpty { options.append(MPIRunCommand.Option(plan.agent, MPIRunCommand.agentComment)) }
    options.append(MPIRunCommand.Option([plan.program] + plan.arguments, "the program, with its arguments"))
    return options
  }
}
