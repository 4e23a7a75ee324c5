import ArgumentParser
import Glibc
import Launcher
import System

/// The options that describe a job; all are texts here and checked by the settings' own table.
struct LaunchOptions: ParsableArguments {
  @Option(name: names("config_file"), help: "YAML file that describes the cluster.")
  var configFile: String?

  @Option(
    name: names("num_processes", short: "n"),
    help: "Ranks over all hosts. Default: one a core, at most 4; 1 for single-process tools.")
  var rankCount: String?

  @Option(name: names("num_machines"), help: "Hosts: the first so many of the hostfile.")
  var machineCount: String?

  @Option(name: names("mpirun_hostfile", also: "hostfile"), help: "Open MPI hostfile: `host slots=N` a line.")
  var hostfile: String?

  @Option(name: names("ranks_per_host"), help: "Ranks of a host whose line gives no slots.")
  var ranksPerHost: String?

  @Option(
    name: names("num_cpu_threads_per_process"), help: "Threads of each rank. Default: the cores dealt out evenly.")
  var threadsPerRank: String?

  @Option(name: names("launcher"), help: "What starts the ranks: mpirun or, inside a Slurm allocation, srun.")
  var starter: String?

  @Option(
    name: names("mpirun"), help: "The mpirun to use: of Open MPI, MPICH or Intel MPI. Default: the first on the PATH.")
  var mpirun: String?

  @Option(name: names("binding"), help: "What a rank is bound to: none, core, socket or numa.")
  var binding: String?

  @Option(name: names("mixed_precision"), help: "no or bf16.")
  var mixedPrecision: String?

  @Option(name: names("gradient_accumulation_steps"), help: "Batches for each optimizer step.")
  var accumulationSteps: String?

  @Option(name: names("network"), help: "Networks between the hosts, such as 10.0.0.0/24 or eth0.")
  var network: [String] = []

  @Option(name: names("remote_shell"), help: "Program that runs a command on a host, instead of ssh.")
  var remoteShell: String?

  @Option(name: names("ssh_port"), help: "Port of sshd on the hosts.")
  var sshPort: String?

  @Option(name: names("ssh_identity"), help: "Private key for ssh.")
  var sshIdentity: String?

  @Option(name: names("export"), help: "Variables of this environment that the ranks get.")
  var export: [String] = []

  @Option(name: names("include"), help: "Use these hosts of the hostfile only.")
  var include: [String] = []

  @Option(name: names("exclude"), help: "Leave out these hosts of the hostfile.")
  var exclude: [String] = []

  @Option(name: names("working_folder"), help: "Folder that ranks start in.")
  var workingFolder: String?

  @Option(name: names("log_dir"), help: "Folder for files of each rank's output and errors.")
  var logFolder: String?

  @Option(
    name: names("local_ranks_filter", also: "ranks_filter"),
    help: "Show the output of these ranks only: 0,2-3. Files of --log_dir get all.")
  var ranksFilter: String?

  @Option(
    name: names("stall_timeout"),
    help: "Seconds without progress after which the job is ended; 0: never. Default: 10 steps, 30 at least.")
  var stallTimeout: String?

  @Option(name: names("monitor_interval"), help: "Seconds between two looks at a rank. Default: 1.")
  var monitorInterval: String?

  @Option(name: names("max_restarts"), help: "Start the job again so many times after a rank was lost. Default: 0.")
  var maxRestarts: String?

  @Flag(name: names("exclude_lost_hosts"), help: "Start again without a host that was lost, on fewer ranks.")
  var excludesLostHosts = false

  @Option(name: names("mpirun_argument"), help: "A further argument of mpirun; may be repeated.")
  var mpirunArguments: [String] = []

  @Flag(name: names("enable_cpu_affinity"), help: "Bind each thread to a core: --binding core.")
  var enableCPUAffinity = false

  @Flag(name: names("tee"), help: "Put rank and host in front of each line of output.")
  var tee = false

  @Flag(name: names("debug"), help: "Check every collective.")
  var debug = false

  @Flag(name: names("quiet", short: "q"), help: "Say nothing but errors.")
  var quiet = false

  @Flag(name: names("cpu"), help: "Do not read the default configuration file. (Everything runs on CPUs.)")
  var cpu = false

  @Option(name: names("machine_rank"), help: ArgumentHelp("Ignored: MPI numbers the hosts.", visibility: .hidden))
  var machineRank: String?

  @Option(name: names("main_process_ip"), help: ArgumentHelp("Ignored: MPI finds the hosts.", visibility: .hidden))
  var mainProcessIP: String?

  @Option(name: names("main_process_port"), help: ArgumentHelp("Ignored: MPI finds its ports.", visibility: .hidden))
  var mainProcessPort: String?

  /// The flags given, by the setting's name.
  var flags: [String: [String]] {
    let single: [(String, String?)] = [
      ("num_processes", rankCount), ("num_machines", machineCount), ("mpirun_hostfile", hostfile),
      ("ranks_per_host", ranksPerHost), ("num_cpu_threads_per_process", threadsPerRank), ("binding", binding),
      ("launcher", starter), ("mpirun", mpirun),
      ("mixed_precision", mixedPrecision), ("gradient_accumulation_steps", accumulationSteps),
      ("remote_shell", remoteShell), ("ssh_port", sshPort), ("ssh_identity", sshIdentity),
      ("working_folder", workingFolder), ("log_dir", logFolder), ("tee", tee ? "true" : nil),
      ("enable_cpu_affinity", enableCPUAffinity ? "true" : nil), ("stall_timeout", stallTimeout),
      ("monitor_interval", monitorInterval), ("max_restarts", maxRestarts),
      ("exclude_lost_hosts", excludesLostHosts ? "true" : nil), ("local_ranks_filter", ranksFilter),
      ("debug", debug ? "true" : nil), ("quiet", quiet ? "true" : nil),
    ]
    let lists = [("network", network), ("export", export), ("include", include), ("exclude", exclude)]
    var flags: [String: [String]] = [:]
    for (name, value) in single { if let value { flags[name] = [value] } }
    for (name, values) in lists where !values.isEmpty { flags[name] = values }
    if !mpirunArguments.isEmpty { flags["mpirun_arguments"] = mpirunArguments }
    return flags
  }

  /// Flags that mean nothing here though Accelerate's users give them, with the reason.
  func checkIgnored() throws(Failure) -> [String] {
    var notes: [String] = []
    if let machineRank {
      guard let rank = Int(machineRank), 0...65_534 ~= rank else {
        throw Failure(
          .usage, at: "--machine_rank", "\"\(machineRank.shortened)\", expected a whole number from 0 to 65534")
      }
      if let machines = machineCount.flatMap({ Int($0) }), rank >= machines {
        throw Failure(.usage, at: "--machine_rank", "\(rank), expected less than --num_machines \(machines)")
      }
      notes.append("--machine_rank is ignored: MPI numbers the hosts, and the launcher is started on one only")
    }
    if mainProcessIP != nil { notes.append("--main_process_ip is ignored: MPI finds the hosts") }
    if let mainProcessPort {
      guard let port = Int(mainProcessPort), 1...65_535 ~= port else {
        throw Failure(.usage, at: "--main_process_port", "\"\(mainProcessPort.shortened)\", expected 1 to 65535")
      }
      notes.append("--main_process_port is ignored: MPI finds its own ports")
    }
    return notes
  }

  /// Every spelling, for suggestions.
  static var spellings: [String] {
    var names = Setting.all.map(\.name)
    names += [
      "config_file", "in_process", "dry_run", "hostfile", "help", "cpu", "debugger", "debug_rank", "ranks_filter",
    ]
    return names.flatMap { ["--\($0)", "--\(dashed($0))"] }
  }
}

/// `--num_processes` and `--num-processes`, and further names.
func names(_ name: String, short: Character? = nil, also other: String? = nil) -> NameSpecification {
  var elements: [NameSpecification.Element] = short.map { [.customShort($0)] } ?? []
  for name in [name, other].compactMap({ $0 }) {
    elements.append(.customLong(name))
    if dashed(name) != name { elements.append(.customLong(dashed(name))) }
  }
  return NameSpecification(elements)
}

private func dashed(_ name: String) -> String {
  String(decoding: name.utf8.map { $0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 }, as: UTF8.self)
}
