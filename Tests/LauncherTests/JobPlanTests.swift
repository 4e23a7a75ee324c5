import Launcher
import System
import Testing

/// Programs of a machine that is made up: nothing is looked for or started.
struct MadeUpPrograms: ProgramFinder {
  var folder = "/opt/lockstep"
  var onThePath = ["mpirun": "/usr/bin/mpirun", "srun": "/usr/bin/srun", "gdb": "/usr/bin/gdb"]
  var kind = MPIFlavour.openMPI4

  func path(of name: String) throws(Failure) -> String {
    if name.contains("/") { return name }
    if Programs.own.contains(where: { $0.name == name }) { return "\(folder)/\(name)" }
    if let path = find(name) { return path }
    throw Failure(.missingInput, at: name, "no such program")
  }
  func startable(_ name: String) throws(Failure) -> String { try path(of: name) }
  func find(_ name: String) -> String? { onThePath[name] }
  func flavour(ofMPIRun path: String, _ environment: Environment) throws(Failure) -> MPIFlavour { kind }
}

/// From settings, an environment and the text of a hostfile to the argument vector, without a process.
@Suite struct JobPlanTests {
  /// A machine of four cores called `me`, with nothing in its environment but `variables`.
  func machine(_ variables: [String: String] = [:], flavour: MPIFlavour = .openMPI4) -> Machine {
    Machine(
      launcher: "/opt/lockstep/launch", programs: MadeUpPrograms(kind: flavour), environment: Environment(variables),
      cores: Cores(allowedCPUs: 4, physical: 4), hostName: "me", names: "me")
  }

  /// The plan of `command` with flags, variables and a hostfile of the text `hosts`.
  func plan(
    _ command: [String] = ["finetune", "--epochs", "1"], _ flags: [String: String] = [:],
    _ variables: [String: String] = [:], hosts: String? = nil, threadRanks: String? = nil, debugger: String? = nil,
    debugRank: String? = nil, flavour: MPIFlavour = .openMPI4
  ) throws -> JobPlan {
    var texts = flags.mapValues { [$0] }
    if hosts != nil { texts[Setting.hostfile.name] = ["hosts"] }
    let machine = machine(variables, flavour: flavour)
    return try JobPlan(
      JobRequest(command, threadRanks: threadRanks, debugger: debugger, debugRank: debugRank),
      try Settings(flags: texts, environment: machine.environment, file: nil), on: machine
    ) { (path, own) throws(Failure) in
      try Hostfile(Array((hosts ?? "").utf8), path: path, ownName: own)
    }
  }

  func refusal(_ body: () throws -> JobPlan) -> Failure? {
    do {
      let plan = try body()
      Issue.record("planned: \(plan.command)")
      return nil
    } catch { return error as? Failure }
  }

  static let agent = ["/opt/lockstep/launch", "--rank-agent", "1000", "--"]
  static let program = ["/opt/lockstep/finetune", "--epochs", "1"]
  static let exported = [
    "-x", "OPAL_OUTPUT_STDERR_FD=2", "-x", "LOCKSTEP_RUN_ID", "-x", "LOCKSTEP_NUM_THREADS", "-x",
    "OPENBLAS_NUM_THREADS", "-x", "OMP_NUM_THREADS",
  ]

  @Test("ranks of this machine speak through memory, each under its agent, the cores dealt out") func oneHost() throws {
    let plan = try plan(["finetune", "--epochs", "1"], ["num_processes": "2"])
    #expect(
      plan.command == ["/usr/bin/mpirun", "--np", "2"] + PlanCase.unbound + PlanCase.ends + PlanCase.memory4
        + Self.exported + Self.agent + Self.program)
    #expect(plan.variables.first { $0.name == "LOCKSTEP_NUM_THREADS" }?.value == "2")
    #expect(plan.notes == [])
  }

  @Test("more ranks than cores: Open MPI is told to allow it, and waiting ranks yield") func oversubscribed() throws {
    let command = try plan(["finetune"], ["num_processes": "9"]).command
    #expect(command.contains("--oversubscribe") && command.contains("mpi_yield_when_idle"))
  }

  @Test("the hosts of a hostfile, with networks and a shell: the vector and mpirun's own hostfile") func twoHosts()
    throws
  {
    let plan = try plan(
      ["finetune", "--epochs", "1"],
      ["network": "10.0.0.0/24", "remote_shell": "/agent", "num_cpu_threads_per_process": "1"],
      hosts: "a slots=1\nb slots=2\n")
    #expect(
      plan.command == ["/usr/bin/mpirun", "--hostfile", "/proc/self/fd/62", "--np", "3"] + PlanCase.unbound
        + PlanCase.ends + PlanCase.alive4 + PlanCase.networks4("10.0.0.0/24") + PlanCase.reach4("/agent", nil)
        + Self.exported + Self.agent + Self.program)
    guard case .mpirun(_, let launch) = plan.start else { throw Failure(.badData, "not by mpirun") }
    #expect(MPIRunCommand.hostfile(for: launch) == "a slots=1\nb slots=2\n")
    // One is left out.
    let rest = try self.plan(["finetune"], ["exclude": "b"], hosts: "a slots=1\nb slots=2\nc slots=1\n")
    guard case .mpirun(_, let fewer) = rest.start else { throw Failure(.badData, "not by mpirun") }
    #expect(fewer.ranks == 2 && fewer.without(host: "a")?.ranks == 1)
  }

  @Test("a Slurm allocation gives hosts, tasks and threads; its hosts are not reached by ssh") func slurm() throws {
    let variables = [
      "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_TASKS_PER_NODE": "2(x2)", "SLURM_CPUS_PER_TASK": "3",
    ]
    let command = try plan(["finetune"], [:], variables).command
    #expect(command.starts(with: ["/usr/bin/mpirun", "--hostfile", "/proc/self/fd/62", "--np", "4"]))
    #expect(!command.contains("plm_rsh_agent"))
    let srun = try plan(["finetune"], ["launcher": "srun"], variables)
    #expect(
      srun.command.starts(with: ["/usr/bin/srun", "--mpi=pmix", "--ntasks=4", "--nodes=2", "--nodelist=n1,n2"]))
    #expect(srun.command.contains("--cpus-per-task=3"))
    // A debugger's terminal does not reach that far.
    #expect(refusal { try plan(["finetune"], ["launcher": "srun"], variables, debugger: "gdb") }?.status == .usage)
  }

  @Test("one rank needs no MPI, only its agent; a debugger takes its place") func oneRank() throws {
    let direct = try plan(["inspect", "x"])
    #expect(
      direct.command == ["/opt/lockstep/launch", "--rank-agent", "1000", "direct", "--", "/opt/lockstep/inspect", "x"])
    let logged = try plan(["inspect", "x"], ["log_dir": "logs"])
    #expect(logged.command.contains("directWithOutput"))
    let debugged = try plan(["finetune", "x"], ["num_processes": "1"], debugger: "gdb")
    #expect(debugged.command == ["/usr/bin/gdb", "--args", "/opt/lockstep/finetune", "x"])
  }

  @Test("a debugger stands in front of the rank that is named, and of no other") func debuggedRank() throws {
    let plan = try plan(["finetune"], ["num_processes": "2"], debugger: "gdb", debugRank: "1")
    #expect(plan.debuggedRank == 1)
    #expect(plan.command.contains("--args"))
    for rank in ["2", "-1", "x", "999999999999999999999"] {
      #expect(
        refusal { try self.plan(["finetune"], ["num_processes": "2"], debugger: "gdb", debugRank: rank) }?.place
          == "--debug_rank")
    }
    let far = refusal { try self.plan(["finetune"], hosts: "me slots=1\nb slots=1\n", debugger: "gdb", debugRank: "1") }
    #expect(far?.description.contains("rank 1 runs on host b") == true)
    #expect(refusal { try self.plan(debugRank: "0") }?.hint == "--debugger gdb")
  }

  @Test("ranks as threads are one process that is told how many, with all cores between them") func inProcess() throws {
    let plan = try plan(["finetune"], threadRanks: "2")
    #expect(plan.threadRanks == 2 && plan.command.first == "/opt/lockstep/launch")
    #expect(plan.variables.contains { $0 == ("LOCKSTEP_IN_PROCESS", "2") })
    #expect(plan.variables.contains { $0 == ("LOCKSTEP_NUM_THREADS", "2") })
    for text in ["0", "1025", "two"] { #expect(refusal { try self.plan(threadRanks: text) }?.status == .usage) }
    #expect(
      refusal { try self.plan(["finetune"], ["num_processes": "2"], threadRanks: "2") }?.description
        .contains("contradict each other") == true)
  }

  @Test("what cannot be started is refused with its status, before anything starts") func refusals() throws {
    let cases: [(text: String, status: System.ExitStatus, body: () throws -> JobPlan)] = [
      ("no such program", .missingInput, { try plan(["nothing"]) }),
      ("nothing says which", .configuration, { try plan(["finetune"], ["num_machines": "2"]) }),
      ("hosts:1:1", .configuration, { try plan(["finetune"], hosts: "") }),
      ("3 ranks, but", .usage, { try plan(["finetune"], ["num_processes": "3"], hosts: "a slots=2\n") }),
      ("srun outside of a Slurm allocation", .usage, { try plan(["finetune"], ["launcher": "srun"]) }),
      ("is built with Open MPI", .unavailable, { try plan(["finetune"], ["num_processes": "2"], flavour: .mpich) }),
      ("want 5 cores", .usage, { try plan(["finetune"], ["num_processes": "5", "binding": "core"]) }),
      ("expected no spaces", .usage, { try plan(["finetune"], ["ssh_identity": "a b"]) }),
      (
        "expected ranks from 0 to 1", .usage,
        {
          try plan(["finetune"], ["num_processes": "2", "local_ranks_filter": "0,2"])
        }
      ),
      (
        "two dashes", .configuration,
        { try plan(["finetune"], [:], ["SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2-3]"]) }
      ),
    ]
    for example in cases {
      let found = refusal { try example.body() }
      #expect(
        found?.status == example.status && found?.description.contains(example.text) == true,
        "\(found as Any), not \(example.text)")
    }
  }

  @Test("memory that is too small for MPI's ranks, and memory that may not be read, change how they speak")
  func memory() throws {
    var machine = machine()
    machine.sharedMemory = .init(path: "/dev/shm", freeBytes: 8 << 20)
    machine.readsOtherMemory = false
    let settings = try Settings(flags: ["num_processes": ["2"]], environment: machine.environment, file: nil)
    let scarce = try JobPlan(JobRequest(["finetune"]), settings, on: machine)
    #expect(scarce.command.contains("self,tcp"))
    #expect(scarce.notes == ["/dev/shm has 8 MB free, too little for MPI's ranks here: they speak over TCP"])
    machine.sharedMemory?.freeBytes = 1 << 30
    let plenty = try JobPlan(JobRequest(["finetune"]), settings, on: machine)
    #expect(plenty.command.contains("btl_vader_single_copy_mechanism") && plenty.notes == [])
  }

  @Test("the launcher's own options come before the program's, which win") func insertedArguments() throws {
    let plan = try plan(["finetune", "-x"], ["num_processes": "2", "gradient_accumulation_steps": "4"])
    #expect(plan.command.suffix(4) == ["/opt/lockstep/finetune", "--gradient-accumulation-steps", "4", "-x"])
    #expect(plan.arguments == ["-x"])
    let other = try self.plan(["/bin/x"], ["num_processes": "2", "gradient_accumulation_steps": "4"])
    #expect(other.notes.contains { $0.contains("has no effect on /bin/x") })
  }
}
