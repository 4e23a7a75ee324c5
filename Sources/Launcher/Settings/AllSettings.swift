extension SettingDefinition {
  /// All settings, in the order in which they are explained.
  public static let all: [SettingDefinition] = [
    Setting.processes.definition, Setting.machines.definition, Setting.hostfile.definition,
    Setting.ranksPerHost.definition, Setting.threads.definition, Setting.starter.definition,
    Setting.mpirun.definition, Setting.binding.definition, Setting.cpuAffinity.definition,
    Setting.mixedPrecision.definition, Setting.gradientAccumulation.definition, Setting.debug.definition,
    Setting.quiet.definition, Setting.network.definition, Setting.remoteShell.definition,
    Setting.sshPort.definition, Setting.sshIdentity.definition, Setting.export.definition,
    Setting.include.definition, Setting.exclude.definition, Setting.workingFolder.definition,
    Setting.tee.definition, Setting.logFolder.definition, Setting.ranksFilter.definition,
    Setting.stallTimeout.definition, Setting.monitorInterval.definition, Setting.maxRestarts.definition,
    Setting.minProcesses.definition,
    Setting.excludeLostHosts.definition, Setting.mpirunArguments.definition,
  ]
}

extension Setting where Value == Int {
  public static var processes: Setting<Int> {
    Setting(
      "num_processes", .integer(1...65_536), short: "n", variables: ["LOCKSTEP_NUM_PROCESSES"], path: ["num_processes"],
      help: "Ranks over all hosts. Default: one a core, at most 4; 1 for single-process tools.")
  }

  public static var machines: Setting<Int> {
    Setting(
      "num_machines", .integer(1...65_535), path: ["num_machines"],
      help: "Hosts: the first so many of the hostfile.")
  }

  public static var ranksPerHost: Setting<Int> {
    Setting(
      "ranks_per_host", .integer(1...65_535), path: ["lockstep", "ranks_per_host"],
      help: "Ranks of a host whose line gives no slots.")
  }

  public static var threads: Setting<Int> {
    Setting(
      "num_cpu_threads_per_process", .integer(1...1024),
      variables: ["LOCKSTEP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"],
      path: ["lockstep", "threads_per_rank"], help: "Threads of each rank. Default: the cores dealt out evenly.")
  }

  public static var gradientAccumulation: Setting<Int> {
    Setting(
      "gradient_accumulation_steps", .integer(1...1_000_000), variables: ["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"],
      path: ["gradient_accumulation_steps"], help: "Batches for each optimizer step.")
  }

  public static var sshPort: Setting<Int> {
    Setting("ssh_port", .integer(1...65_535), path: ["lockstep", "ssh_port"], help: "Port of sshd on the hosts.")
  }

  public static var maxRestarts: Setting<Int> {
    Setting(
      "max_restarts", .integer(0...1000), path: ["lockstep", "max_restarts"],
      help: "Start the job again so many times after a rank was lost. Default: 0.")
  }

  public static var minProcesses: Setting<Int> {
    Setting(
      "min_processes", .integer(1...65_536), path: ["lockstep", "min_processes"],
      help: "With --exclude_lost_hosts: the least ranks that the job goes on with. Default: 1.")
  }
}

extension Setting where Value == Double {
  public static var stallTimeout: Setting<Double> {
    Setting(
      "stall_timeout", .decimal(0...1e6), variables: ["LOCKSTEP_STALL_TIMEOUT"], path: ["lockstep", "stall_timeout"],
      help: "Seconds without progress after which the job is ended; 0: never. Default: 10 steps, 30 at least.")
  }

  public static var monitorInterval: Setting<Double> {
    Setting(
      "monitor_interval", .decimal(0.05...60), path: ["lockstep", "monitor_interval"],
      help: "Seconds between two looks at a rank. Default: 1.")
  }
}

extension Setting where Value == Bool {
  public static var cpuAffinity: Setting<Bool> {
    Setting(
      "enable_cpu_affinity", .boolean, path: ["enable_cpu_affinity"],
      help: "Bind each thread to a core: --binding core.")
  }

  public static var debug: Setting<Bool> {
    Setting(
      "debug", .boolean, variables: ["ACCELERATE_DEBUG_MODE"], path: ["debug"], help: "Check every collective.")
  }

  public static var quiet: Setting<Bool> {
    Setting("quiet", .boolean, short: "q", path: ["lockstep", "quiet"], help: "Say nothing but errors.")
  }

  public static var tee: Setting<Bool> {
    Setting(
      "tee", .boolean, path: ["lockstep", "tee"], help: "Put rank and host in front of each line of output.")
  }

  public static var excludeLostHosts: Setting<Bool> {
    Setting(
      "exclude_lost_hosts", .boolean, path: ["lockstep", "exclude_lost_hosts"],
      help: "Start again without a host that was lost, on fewer ranks, until it answers again.")
  }
}

extension Setting where Value == String {
  public static var hostfile: Setting<String> {
    Setting(
      "mpirun_hostfile", .path, aliases: ["hostfile"], variables: ["LOCKSTEP_HOSTFILE"],
      ofMPI: ["OMPI_MCA_orte_default_hostfile", "PRTE_MCA_prte_default_hostfile"],
      path: ["mpirun_config", "mpirun_hostfile"], help: "Open MPI hostfile: `host slots=N` a line.")
  }

  public static var starter: Setting<String> {
    Setting(
      "launcher", .choice(["mpirun", "srun"]), path: ["lockstep", "launcher"],
      help: "What starts the ranks: mpirun or, inside a Slurm allocation, srun.")
  }

  public static var mpirun: Setting<String> {
    Setting(
      "mpirun", .path, variables: ["LOCKSTEP_MPIRUN"], path: ["lockstep", "mpirun"],
      help: "The mpirun to use: of Open MPI, MPICH or Intel MPI. Default: the first on the PATH.")
  }

  public static var binding: Setting<String> {
    Setting(
      "binding", .choice(["none", "core", "socket", "numa"]), path: ["lockstep", "binding"],
      help: "What a rank is bound to: none, core, socket or numa.")
  }

  public static var mixedPrecision: Setting<String> {
    Setting(
      "mixed_precision", .choice(["no", "bf16"]), variables: ["ACCELERATE_MIXED_PRECISION"], path: ["mixed_precision"],
      help: "no or bf16.")
  }

  public static var remoteShell: Setting<String> {
    Setting(
      "remote_shell", .path, ofMPI: ["OMPI_MCA_plm_rsh_agent", "PRTE_MCA_plm_ssh_agent"],
      path: ["lockstep", "remote_shell"], help: "Program that runs a command on a host, instead of ssh.")
  }

  public static var sshIdentity: Setting<String> {
    Setting("ssh_identity", .path, path: ["lockstep", "ssh_identity"], help: "Private key for ssh.")
  }

  public static var workingFolder: Setting<String> {
    Setting("working_folder", .path, path: ["lockstep", "working_folder"], help: "Folder that ranks start in.")
  }

  public static var logFolder: Setting<String> {
    Setting(
      "log_dir", .path, path: ["lockstep", "log_dir"], help: "Folder for files of each rank's output and errors.")
  }
}

extension Setting where Value == [String] {
  public static var network: Setting<[String]> {
    Setting(
      "network", .networks, path: ["lockstep", "network"],
      help: "Networks between the hosts, such as 10.0.0.0/24 or eth0.")
  }

  public static var export: Setting<[String]> {
    Setting(
      "export", .variables, path: ["lockstep", "export"], help: "Variables of this environment that the ranks get.")
  }

  public static var include: Setting<[String]> {
    Setting("include", .hosts, path: ["lockstep", "include"], help: "Use these hosts of the hostfile only.")
  }

  public static var exclude: Setting<[String]> {
    Setting("exclude", .hosts, path: ["lockstep", "exclude"], help: "Leave out these hosts of the hostfile.")
  }

  public static var ranksFilter: Setting<[String]> {
    Setting(
      "local_ranks_filter", .ranks, aliases: ["ranks_filter"], path: ["lockstep", "local_ranks_filter"],
      help: "Show the output of these ranks only: 0,2-3. Files of --log_dir get all.")
  }

  public static var mpirunArguments: Setting<[String]> {
    Setting(
      "mpirun_arguments", .words, flag: "mpirun_argument", path: ["lockstep", "mpirun_arguments"],
      help: "A further argument of mpirun; may be repeated.")
  }
}
