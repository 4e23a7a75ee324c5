import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Variables of MPI, Slurm and shells that others have set: obeyed, kept from the job, or named in one line.
@Suite struct MPIVariablesTests {
  func environment(_ entries: [String]) -> Environment { Environment(entries: entries.map { Array($0.utf8) }) }

  @Test("a variable that is overridden is not said to be in force") func overridden() {
    let user = environment([
      "OMPI_MCA_pml=cm", "OMPI_MCA_hwloc_base_verbose=1", "OMPI_MCA_btl_tcp_if_exclude=docker0",
      "OMPI_MCA_orte_tag_output=1",
    ])
    let arguments = ["--mca", "pml", "ob1", "--mca", "btl_tcp_if_include", "eth0"]
    let notes = MPIVariables.notes(user, arguments: arguments, obeyed: [], leftovers: ["PMI_SIZE=3"])
    #expect(
      notes == [
        "PMI_SIZE=3 (variable) is left over from another job of MPI's and is not passed on",
        "OMPI_MCA_orte_tag_output=1 (variable) is not passed on: --tee puts ranks in front of lines",
        "OMPI_MCA_btl_tcp_if_exclude=docker0 (variable) is not passed on: btl_tcp_if_include is set",
        "OMPI_MCA_hwloc_base_verbose=1 (variable) is in force",
        "OMPI_MCA_pml=cm (variable) is not in force: the launcher sets ob1",
      ])
    let left = MPIVariables.withheld(from: user, arguments: arguments).variables(withPrefix: "OMPI_").map(\.name)
    #expect(left == ["OMPI_MCA_hwloc_base_verbose", "OMPI_MCA_pml"])
  }

  @Test("what only a rank has is left over, without a rank's number") func leftovers() {
    var outside = environment(["OMPI_COMM_WORLD_SIZE=4", "OMPI_MCA_btl=self,vader", "PMIX_MCA_gds=hash", "PATH=/bin"])
    #expect(outside.removeRankVariables() == ["OMPI_COMM_WORLD_SIZE=4"])
    #expect(outside == environment(["OMPI_MCA_btl=self,vader", "PMIX_MCA_gds=hash", "PATH=/bin"]))
  }

  static let stale = ["OMPI_UNIVERSE_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"]

  @Test("a lone variable of another job changes nothing, and is named", arguments: stale, ["1", "2"])
  func lone(name: String, ranks: String) throws {
    let result = try launch(
      "-n", ranks, "sh", "-c", "echo ${OMPI_COMM_WORLD_SIZE-1}", environment: [name: "8"])
    #expect(result.status == 0 && result.lines == Array(repeating: ranks, count: Int(ranks)!), "\(result.stderr)")
    #expect(
      result.stderr
        == "launch: note: \(name)=8 (variable) is left over from another job of MPI's and is not passed on\n")
  }

  @Test("tags that mpirun would put into the output do not reach it") func tags() throws {
    let result = try launch(
      "-n", "2", "echo", "line", environment: ["OMPI_MCA_orte_tag_output": "1", "OMPI_MCA_orte_timestamp_output": "1"])
    #expect(result.status == 0 && result.lines == ["line", "line"], "\(result.text) \(result.stderr)")
  }

  @Test("a hostfile and a remote shell that are set for mpirun are obeyed, unless a flag says otherwise") func obeyed()
    throws
  {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically(Array("other slots=3\n".utf8), to: "\(folder)/hosts")
    try writeAtomically(Array("#!/bin/sh\n".utf8), to: "\(folder)/agent")
    chmod("\(folder)/agent", 0o755)
    let variables: [String: String?] = [
      "OMPI_MCA_orte_default_hostfile": "\(folder)/hosts", "OMPI_MCA_plm_rsh_agent": "\(folder)/agent -q",
    ]
    let dry = try launch("--dry_run", "true", environment: variables).text
    #expect(dry.contains("#   other slots=3\n") && dry.contains("--mca plm_rsh_agent '\(folder)/agent -q'"), "\(dry)")
    let own = try launch("--dry_run", "-n", "2", "--remote_shell", "/bin/true", "true", environment: variables).text
    #expect(own.contains("--mca plm_rsh_agent /bin/true"), "\(own)")
    // A tool of one process needs no hosts.
    #expect(!(try launch("--dry_run", "inspect", environment: variables).text.contains("other")))
  }

  @Test("mpirun and srun around the launcher: refused with the command to type") func around() throws {
    let open = try launch(
      "finetune", "--epochs", "1", environment: ["OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "3"])
    #expect(open.status == 64 && open.text.isEmpty)
    #expect(open.error.contains("mpirun has started this launcher 3 times"), "\(open.stderr)")
    #expect(open.error.contains("(./launch --num_processes 3 finetune --epochs 1, without mpirun;"), "\(open.stderr)")
    let slurm = ["SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7"]
    let srun = try launch("-n", "2", "true", environment: slurm.mapValues { Optional($0) })
    #expect(srun.status == 64 && srun.error.contains("(./launch -n 2 true, without srun;"), "\(srun.stderr)")
    // One task of its own is what a batch script or an interactive step is.
    #expect(OuterLauncher(Environment(["PMI_RANK": "0", "PMI_SIZE": "1"])) == nil)
    #expect(OuterLauncher(Environment(["SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"])) == nil)
  }

  @Test("an allocation that is over is named by its variable") func staleSlurm() throws {
    let result = try launch(
      "-n", "2", "true",
      environment: [
        "SLURM_JOB_ID": "3", "SLURM_JOB_NODELIST": "node7", "SLURM_TASKS_PER_NODE": "4", "PATH": "/usr/bin:/bin",
      ])
    #expect(result.status == 69)
    #expect(result.error.hasPrefix("launch: error: SLURM_JOB_ID=3: "), "\(result.stderr)")
    #expect(result.seconds < 30)
  }

  @Test("without PATH, HOME and everything else it works") func emptyEnvironment() throws {
    let names = Environment.ofThisProcess().variables(withPrefix: "").map(\.name)
    var nothing: [String: String?] = [:]
    for name in names { nothing[name] = String?.none }
    let result = try run("\(binaries)/launch", ["-n", "2", "sh", "-c", "echo there"], environment: nothing)
    #expect(result.status == 0 && result.lines == ["there", "there"], "\(result.stderr)")
    let configuration = try run("\(binaries)/launch", ["config", "default"], environment: nothing)
    #expect(configuration.status == 64 && configuration.error.contains("HOME is not set"), "\(configuration.stderr)")
    #expect(!exists("/.config/lockstep"))
  }

  @Test("a folder for temporary files that takes none is named; a relative one works") func temporaryFolders() throws {
    for (name, folder) in [("TMPDIR", "/proc"), ("TMPDIR", "/proc/missing/t"), ("TMP", "/proc")] {
      var environment: [String: String?] = [:]
      environment.updateValue(nil, forKey: "TMPDIR")
      environment.updateValue(folder, forKey: name)
      let result = try run("\(binaries)/launch", ["-n", "2", "true"], environment: environment)
      #expect(result.status == 73)
      #expect(result.error.hasPrefix("launch: error: \(name)=\(folder): takes no files"), "\(result.stderr)")
    }
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    mkdir("\(folder)/t", 0o700)
    mkdir("\(folder)/w", 0o700)
    let script =
      "cd \(folder) && TMPDIR=t exec \(binaries)/launch -n 2 --working_folder \(folder)/w sh -c 'ls -d $TMPDIR'"
    let relative = try run("/bin/sh", ["-c", script])
    #expect(relative.status == 0 && relative.lines == ["\(folder)/t", "\(folder)/t"], "\(relative.stderr)")
  }
}
