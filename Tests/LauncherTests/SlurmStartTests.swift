import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Jobs of a real Slurm, with ranks started by mpirun and by srun. Its nodes have no Swift.
@Suite(
  .serialized,
  .needs(.hosts, .overlay, .program("\(SlurmCluster.unpacked)/root/usr/sbin/slurmctld"), .program("pgrep")))
struct RealSlurmTests {
  static let starters = ["mpirun", "srun"]

  /// Runs `script` on a node of the cluster that is no job's.
  func run(_ script: String, within seconds: Double = 120) throws -> RunResult {
    try SlurmCluster.shared.get().run(script, within: seconds)
  }

  @Test("the sample batch file on nodes without Swift: ranks, hosts and threads", arguments: starters)
  func sample(starter: String) throws {
    let result = try run(
      """
      # A folder as `pack` makes it, with the sample files: no Swift is needed for it.
      mkdir -p $CLUSTER_FOLDER/package; cd $CLUSTER_FOLDER/package; ln -sf $B/launch; cp -r \(packageFolder)/hostfiles .
      export LOCKSTEP_STARTER=\(starter)
      job=$(sbatch --parsable --output=$O/%j hostfiles/slurm.sbatch sh -c 'echo $(hostname) $LOCKSTEP_NUM_THREADS')
      ended $job; sort $O/$job
      job=$(sbatch --parsable --output=$O/%j --ntasks-per-node=1 hostfiles/slurm.sbatch finetune --max-steps 2)
      ended $job; grep -c '^step  *[0-9]*/' $O/$job
      """)
    let lines = ["node1 2", "node2 2"].flatMap { Array(repeating: $0, count: 4) }
    #expect(result.lines == ["COMPLETED 0:0"] + lines + ["COMPLETED 0:0", "2"], "\(result.stderr)")
  }

  @Test("uneven: of -N 2 -n 3 --ntasks-per-node=2 three ranks start, where srun would start them", arguments: starters)
  func uneven(starter: String) throws {
    let result = try run(
      """
      job=$(submit -N 2 -n 3 --ntasks-per-node=2 -- "$B/launch --tee --launcher \(starter) $C steps 3;" \\
        "$B/launch --launcher \(starter) $C huge 1000")
      ended $job; sort $O/$job
      """)
    #expect(result.lines == ["COMPLETED 0:0"] + (0..<3).map { "rank \($0) of 3: correct" }, "\(result.stderr)")
    let hosts = try run(
      """
      job=$(submit -N 2 -n 3 --ntasks-per-node=2 -- "$B/launch --tee --launcher \(starter) pwd")
      ended $job; sort $O/$job
      """)
    #expect(
      hosts.lines == ["COMPLETED 0:0"] + ["[0 node1]", "[1 node1]", "[2 node2]"].map { "\($0) \(packageFolder)" },
      "\(hosts.stderr)")
  }

  @Test("threads of a rank are the CPUs that a task has, where nobody says how many", arguments: starters)
  func threads(starter: String) throws {
    let result = try run(
      """
      job=$(submit -N 2 -n 2 -- "$B/launch --launcher \(starter) sh -c 'echo \\$LOCKSTEP_NUM_THREADS'"); ended $job; cat $O/$job
      job=$(submit -N 2 -n 2 -c 3 -- "$B/launch --launcher \(starter) sh -c 'echo \\$LOCKSTEP_NUM_THREADS'"); ended $job; cat $O/$job
      """)
    #expect(result.lines == ["COMPLETED 0:0", "1", "1", "COMPLETED 0:0", "3", "3"], "\(result.stderr)")
  }

  @Test("salloc: ranks on the nodes, launched from outside of them; the status is the job's", arguments: starters)
  func salloc(starter: String) throws {
    let result = try run(
      """
      salloc -w node2,node4 -n 3 $B/launch --tee --launcher \(starter) sh -c 'exit 0' || echo $?
      salloc -w node2 -n 1 $B/launch --tee --launcher \(starter) hostname
      salloc -w node2,node4 -n 3 $B/launch --launcher \(starter) sh -c 'exit 65'; echo $?
      """)
    #expect(result.lines == ["[0 node2] node2", "65"], "\(result.stderr)")
    #expect(result.stderr.contains("ended with status 65"), "\(result.stderr)")
  }

  @Test("a node whose hostname has a domain, alone, as the first and as the second", arguments: starters)
  func domain(starter: String) throws {
    let result = try run(
      """
      for nodes in node3 node2,node3 node3,node4; do
        job=$(submit -w $nodes -n 3 -- $B/launch --launcher \(starter) $C huge 1000); ended $job; sort $O/$job
      done
      """)
    let lines = ["COMPLETED 0:0"] + (0..<3).map { "rank \($0) of 3: correct" }
    #expect(result.lines == lines + lines + lines, "\(result.stderr)")
  }

  @Test("the programs under srun itself: they find one another through PMIx, and say in a line where there is none")
  func srunItself() throws {
    let result = try run(
      """
      srun -N 2 -n 3 --mpi=pmix $C huge 1000 | sort
      for mpi in pmi2 none; do
        srun -N 2 -n 3 --mpi=$mpi $C huge 1000 >$O/direct 2>&1; echo $mpi $?
        grep -v ^srun: $O/direct | sort -u
        # Alone a program needs nobody.
        srun -n 1 --mpi=$mpi $C huge 1000
      done
      """)
    let refusal = { (what: String) in
      "error: Slurm started 3 tasks, but gave them \(what) to find one another (start with `srun --mpi=pmix`, or with mpirun)"
    }
    #expect(
      result.lines == (0..<3).map { "rank \($0) of 3: correct" } + [
        "pmi2 69", refusal("PMI-1 or PMI-2, which this MPI does not speak, and no PMIx"), "rank 0 of 1: correct",
        "none 69", refusal("no PMIx"), "rank 0 of 1: correct",
      ], "\(result.text) \(result.stderr)")
  }

  @Test("a Slurm without PMIx: srun's refusal is 69, and names the way out") func withoutPMIx() throws {
    let result = try run(
      """
      plugin=$(ls /usr/lib/*/slurm-wlm/mpi_pmix.so)
      job=$(submit -N 2 -n 2 -- "unshare --mount sh -c 'for f in ${plugin%.so}*; do mount --bind /dev/null \\$f; done;" \\
        "exec $B/launch --launcher srun $C huge 1000'")
      ended $job; tail -n 1 $O/$job
      """)
    #expect(result.lines.first == "FAILED 69:0", "\(result.text) \(result.stderr)")
    #expect(
      result.lines.last?.hasPrefix("launch: error: srun started no rank and ended with status ") == true
        && result.text.contains("use --launcher mpirun"), "\(result.text)")
  }

  @Test("variables of an allocation that is over, or of none that Slurm knows: 69, named", arguments: starters)
  func stale(starter: String) throws {
    let result = try run(
      """
      job=$(submit -N 2 -n 2 -- true); ended $job
      export SLURM_JOB_NODELIST=node[1-2] SLURM_TASKS_PER_NODE='1(x2)'
      for id in $job 4711; do
        SLURM_JOB_ID=$id $B/launch --launcher \(starter) $C huge 1000 2>&1; echo $?
      done
      """)
    let lines = result.lines
    try #require(lines.count == 5 && lines[0] == "COMPLETED 0:0", "\(result.text)")
    for place in [1, 3] {
      #expect(lines[place].hasPrefix("launch: error: SLURM_JOB_ID="), "\(result.text)")
      #expect(lines[place].contains("Slurm knows no such job any more"), "\(result.text)")
      #expect(lines[place + 1] == "69")
    }
  }
}
