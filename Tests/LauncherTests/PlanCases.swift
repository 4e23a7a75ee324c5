import Launcher
import System
import Testing

/// A plan with the exact arguments that its mpirun gets.
struct PlanCase: Sendable, CustomTestStringConvertible {
  var name: String
  var plan: LaunchPlan
  var expected: [String]
  var testDescription: String { name }

  init(
    _ name: String, _ flavour: MPIFlavour = .openMPI4, ranks: Int = 2, threads: Int = 1, cores: Int = 2,
    isRoot: Bool = false, hosts: [(name: String, ranks: Int)] = [], arguments: [String] = [],
    exported: [String] = [], _ change: (inout LaunchPlan) -> Void = { _ in }, expected: [String]
  ) {
    self.name = "\(flavour.rawValue): \(name)"
    plan = LaunchPlan(
      program: "/p", arguments: arguments, ranks: hosts.isEmpty ? ranks : hosts.reduce(0) { $0 + $1.ranks },
      threadsPerRank: threads, cores: cores, isRoot: isRoot, exportedVariables: exported,
      placement: hosts.isEmpty
        ? nil
        : Placement(
          hosts: hosts.map { .init(entry: HostEntry(name: try! HostName($0.name, at: nil)), ranks: $0.ranks) }))
    plan.flavour = flavour
    if !hosts.isEmpty { plan.hostfilePath = "/h" }
    change(&plan)
    self.expected = expected + ["/p"] + arguments
  }

  static let all = openMPI4 + openMPI5 + mpich + intel

  static let unbound = ["--map-by", "slot", "--bind-to", "none", "--stdin", "none"]
  static let memory4 = ["--mca", "pml", "ob1", "--mca", "btl", "self,vader"]
  static let memory5 = ["--mca", "pml", "ob1", "--mca", "btl", "self,sm"]
  static let ends = ["--mca", "orte_abort_on_non_zero_status", "1", "--mca", "orte_base_help_aggregate", "0"]
  static let yields = ["--mca", "mpi_yield_when_idle", "1"]
  static let own = ["-x", "OPAL_OUTPUT_STDERR_FD=2"]
  static let ssh = "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5"
  static let two = [(name: "node1", ranks: 1), (name: "node2", ranks: 2)]
  static let four = [
    (name: "node1", ranks: 1), (name: "node2", ranks: 2), (name: "node3", ranks: 1), (name: "node4", ranks: 3),
  ]

  // MARK: Open MPI 4

  static let alive4 = [
    "--mca", "oob_tcp_keepalive_time", "10", "--mca", "oob_tcp_keepalive_intvl", "5", "--mca",
    "oob_tcp_keepalive_probes", "3",
  ]
  static func reach4(_ shell: String, _ arguments: String?) -> [String] {
    ["--mca", "plm_rsh_no_tree_spawn", "1", "--mca", "plm_rsh_agent", shell]
      + (arguments.map { ["--mca", "plm_rsh_args", $0] } ?? [])
  }
  static func networks4(_ list: String) -> [String] {
    ["--mca", "oob_tcp_if_include", list, "--mca", "btl_tcp_if_include", list]
  }

  static let openMPI4 = [
    PlanCase("a rank a core", expected: ["--np", "2"] + unbound + ends + memory4 + own),
    PlanCase("one rank", ranks: 1, expected: ["--np", "1"] + unbound + ends + memory4 + own),
    PlanCase(
      "more ranks than cores", ranks: 3,
      expected: ["--np", "3", "--oversubscribe"] + unbound + ends + memory4 + yields + own),
    PlanCase(
      "more threads than cores", threads: 2, cores: 3,
      expected: ["--np", "2"] + unbound + ends + memory4 + yields + own),
    PlanCase(
      "as root", threads: 2, cores: 8, isRoot: true,
      expected: ["--np", "2", "--allow-run-as-root"] + unbound + ends + memory4 + own),
    PlanCase(
      "variables by name", exported: ["A", "B"],
      expected: ["--np", "2"] + unbound + ends + memory4 + own + ["-x", "A", "-x", "B"]),
    PlanCase(
      "odd arguments", arguments: ["--np", "7", "it's", "$(x)", "a\nb", "-", "", "ÄÖ"],
      expected: ["--np", "2"] + unbound + ends + memory4 + own),
    PlanCase(
      "bound to cores", .openMPI4, { $0.binding = "core" },
      expected: ["--np", "2", "--map-by", "slot", "--bind-to", "core", "--stdin", "none"] + ends + memory4 + own),
    PlanCase(
      "a core for each thread", ranks: 1, threads: 2, { $0.binding = "core" },
      expected: ["--np", "1", "--map-by", "slot:PE=2", "--bind-to", "core", "--stdin", "none"] + ends + memory4 + own),
    PlanCase(
      "bound to sockets", .openMPI4, { $0.binding = "socket" },
      expected: ["--np", "2", "--map-by", "slot", "--bind-to", "socket", "--stdin", "none"] + ends + memory4 + own),
    PlanCase(
      "bound to NUMA nodes", .openMPI4, { $0.binding = "numa" },
      expected: ["--np", "2", "--map-by", "slot", "--bind-to", "numa", "--stdin", "none"] + ends + memory4 + own),
    PlanCase(
      "a folder", .openMPI4, { $0.workingFolder = "/tmp" },
      expected: ["--np", "2"] + unbound + ["--wdir", "/tmp"] + ends + memory4 + own),
    PlanCase(
      "further arguments", .openMPI4, { $0.extraArguments = ["--mca", "btl", "self,tcp"] },
      expected: ["--np", "2"] + unbound + ends + own + ["--mca", "btl", "self,tcp"]),
    PlanCase(
      "a transport of the user's", .openMPI4, { $0.isTransportGiven = true },
      expected: ["--np", "2"] + unbound + ends + own),
    PlanCase(
      "two hosts", hosts: two,
      expected: ["--hostfile", "/h", "--np", "3"] + unbound + ends + alive4 + reach4("ssh", ssh) + own),
    PlanCase(
      "two hosts, port and key", hosts: two, { $0.remote = .init(port: 2222, identity: "/k") },
      expected: ["--hostfile", "/h", "--np", "3"] + unbound + ends + alive4 + reach4("ssh", ssh + " -p 2222 -i /k")
        + own),
    PlanCase(
      "two hosts, another shell", hosts: two, { $0.remote = .init(shell: "/agent") },
      expected: ["--hostfile", "/h", "--np", "3"] + unbound + ends + alive4 + reach4("/agent", nil) + own),
    PlanCase(
      "four uneven hosts, networks", cores: 4, isRoot: true, hosts: four,
      {
        $0.remote = .init(shell: "/agent")
        $0.networks = ["10.77.0.0/24", "eth0"]
      },
      expected: ["--hostfile", "/h", "--np", "7", "--allow-run-as-root"] + unbound + ends + alive4
        + networks4("10.77.0.0/24,eth0") + reach4("/agent", nil) + own),
    PlanCase(
      "two hosts in Slurm", hosts: two, exported: ["A"], { $0.remote.isSlurm = true },
      expected: ["--hostfile", "/h", "--np", "3"] + unbound + ends + alive4 + own + ["-x", "A"]),
    PlanCase(
      "two hosts, bound, threads", threads: 2, hosts: [("node1", 1), ("node2", 1)],
      {
        $0.binding = "core"
        $0.remote = .init(shell: "/agent")
      },
      expected: ["--hostfile", "/h", "--np", "2", "--map-by", "slot:PE=2", "--bind-to", "core", "--stdin", "none"]
        + ends + alive4 + reach4("/agent", nil) + own),
    PlanCase(
      "hosts that differ by their domains", hosts: [("a.x.org", 1), ("a.y.org", 1)],
      { $0.remote = .init(shell: "/agent") },
      expected: ["--hostfile", "/h", "--np", "2"] + unbound + ends + ["--mca", "orte_keep_fqdn_hostnames", "1"] + alive4
        + reach4("/agent", nil) + own),
  ]

  // MARK: Open MPI 5

  static let alive5 = [
    "--prtemca", "oob_tcp_keepalive_time", "10", "--prtemca", "oob_tcp_keepalive_intvl", "5", "--prtemca",
    "oob_tcp_keepalive_probes", "3",
  ]
  static func reach5(_ shell: String, _ arguments: String?) -> [String] {
    ["--prtemca", "plm_ssh_no_tree_spawn", "1", "--prtemca", "plm_ssh_agent", shell]
      + (arguments.map { ["--prtemca", "plm_ssh_args", $0] } ?? [])
  }

  static let openMPI5 = [
    PlanCase("a rank a core", .openMPI5, expected: ["--np", "2"] + unbound + memory5 + own),
    PlanCase(
      "more ranks than cores", .openMPI5, ranks: 3, isRoot: true,
      expected: ["--np", "3", "--allow-run-as-root", "--map-by", "slot:OVERSUBSCRIBE", "--bind-to", "none"]
        + ["--stdin", "none"] + memory5 + yields + own),
    PlanCase(
      "a core for each thread", .openMPI5, ranks: 1, threads: 2, { $0.binding = "core" },
      expected: ["--np", "1", "--map-by", "slot:PE=2", "--bind-to", "core", "--stdin", "none"] + memory5 + own),
    PlanCase(
      "bound to sockets", .openMPI5, { $0.binding = "socket" },
      expected: ["--np", "2", "--map-by", "slot", "--bind-to", "package", "--stdin", "none"] + memory5 + own),
    PlanCase(
      "bound to NUMA nodes", .openMPI5, { $0.binding = "numa" },
      expected: ["--np", "2", "--map-by", "slot", "--bind-to", "numa", "--stdin", "none"] + memory5 + own),
    PlanCase(
      "a folder", .openMPI5, exported: ["A"], { $0.workingFolder = "/tmp" },
      expected: ["--np", "2"] + unbound + ["--wdir", "/tmp"] + memory5 + own + ["-x", "A"]),
    PlanCase(
      "two hosts", .openMPI5, hosts: two,
      expected: ["--hostfile", "/h", "--np", "3"] + unbound + alive5 + reach5("ssh", ssh) + own),
    PlanCase(
      "four uneven hosts, networks", .openMPI5, isRoot: true, hosts: four,
      {
        $0.remote = .init(shell: "/agent")
        $0.networks = ["10.77.0.0/24"]
      },
      expected: ["--hostfile", "/h", "--np", "7", "--allow-run-as-root"] + unbound + alive5
        + ["--prtemca", "prte_if_include", "10.77.0.0/24", "--mca", "btl_tcp_if_include", "10.77.0.0/24"]
        + reach5("/agent", nil) + own),
    PlanCase(
      "two hosts in Slurm", .openMPI5, hosts: two, { $0.remote.isSlurm = true },
      expected: ["--hostfile", "/h", "--np", "3"] + unbound + alive5 + own),
  ]

  // MARK: MPICH

  static let mpich = [
    PlanCase("a rank a core", .mpich, expected: ["-n", "2", "-bind-to", "none"]),
    PlanCase(
      "more ranks than cores, as root", .mpich, ranks: 5, isRoot: true, exported: ["A", "B"],
      expected: ["-n", "5", "-bind-to", "none", "-genvlist", "A,B"]),
    PlanCase(
      "a core for each thread", .mpich, ranks: 1, threads: 2, { $0.binding = "core" },
      expected: ["-n", "1", "-bind-to", "core:2"]),
    PlanCase("bound to sockets", .mpich, { $0.binding = "socket" }, expected: ["-n", "2", "-bind-to", "socket"]),
    PlanCase("bound to NUMA nodes", .mpich, { $0.binding = "numa" }, expected: ["-n", "2", "-bind-to", "numa"]),
    PlanCase(
      "a folder", .mpich, { $0.workingFolder = "/tmp" }, expected: ["-n", "2", "-bind-to", "none", "-wdir", "/tmp"]),
    PlanCase(
      "two hosts", .mpich, hosts: two, expected: ["-f", "/h", "-n", "3", "-bind-to", "none", "-launcher", "ssh"]),
    PlanCase(
      "four uneven hosts, interface", .mpich, hosts: four, exported: ["A"],
      {
        $0.remote = .init(shell: "/agent")
        $0.networks = ["eth0"]
      },
      expected: ["-f", "/h", "-n", "7", "-bind-to", "none", "-iface", "eth0", "-launcher", "rsh"]
        + ["-launcher-exec", "/agent", "-genvlist", "A"]),
    PlanCase(
      "two hosts in Slurm", .mpich, hosts: two, { $0.remote.isSlurm = true },
      expected: ["-f", "/h", "-n", "3", "-bind-to", "none"]),
  ]

  // MARK: Intel MPI

  static let intel = [
    PlanCase("a rank a core", .intel, expected: ["-n", "2", "-genv", "I_MPI_PIN", "0", "-s", "none"]),
    PlanCase(
      "bound to cores", .intel, { $0.binding = "core" },
      expected: ["-n", "2", "-genv", "I_MPI_PIN_DOMAIN", "core", "-s", "none"]),
    PlanCase(
      "a core for each thread", .intel, ranks: 1, threads: 2, { $0.binding = "core" },
      expected: ["-n", "1", "-genv", "I_MPI_PIN_DOMAIN", "2:compact", "-s", "none"]),
    PlanCase(
      "two hosts", .intel, hosts: two,
      expected: ["-machinefile", "/h", "-n", "3", "-genv", "I_MPI_PIN", "0", "-s", "none", "-launcher", "ssh"]),
    PlanCase(
      "four uneven hosts, interface", .intel, hosts: four, exported: ["A"],
      {
        $0.remote = .init(shell: "/agent")
        $0.networks = ["eth0"]
      },
      expected: ["-machinefile", "/h", "-n", "7", "-genv", "I_MPI_PIN", "0", "-s", "none", "-iface", "eth0"]
        + ["-launcher", "rsh", "-launcher-exec", "/agent", "-genvlist", "A"]),
  ]
}
