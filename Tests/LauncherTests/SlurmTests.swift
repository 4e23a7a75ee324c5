import Glibc
import Launcher
import System
import Testing

@Suite struct SlurmTests {
  @Test(arguments: [
    ("a", ["a"]), ("a,b", ["a", "b"]), ("n[1-3]", ["n1", "n2", "n3"]), ("n[08-10,3]", ["n08", "n09", "n10", "n3"]),
    ("r[1-2]n[0-1]x,z", ["r1n0x", "r1n1x", "r2n0x", "r2n1x", "z"]),
  ]) func nodeLists(_ list: String, _ names: [String]) throws {
    #expect(try SlurmAllocation.expand(list) == names)
  }

  @Test(arguments: [
    "", "n[1-", "n]1", "n[3-1]", "n[1-2-3]", "n[a]", "n[[1]]", "n[0-99999999]", "n[1-99999999999999999999]",
  ])
  func badNodeLists(_ list: String) {
    do throws(Failure) {
      Issue.record("accepted: \(try SlurmAllocation.expand(list))")
    } catch { #expect(error.status == .configuration) }
  }

  @Test func taskCounts() throws {
    #expect(try SlurmAllocation.counts("4(x2),2", at: "") == [4, 4, 2])
    #expect(try SlurmAllocation.counts("1", at: "") == [1])
    for bad in ["", "x", "4(2)", "4(x)", "4(x2", "0", "1,,2", "1(x99999999999)", "60000(x65535),1(x65535)"] {
      #expect(throws: Failure.self, "\(bad)") { try SlurmAllocation.counts(bad, at: "") }
    }
  }

  @Test func allocation() throws {
    let variables = [
      "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_TASKS_PER_NODE": "4(x2),2",
      "SLURM_CPUS_PER_TASK": "3",
    ]
    let slurm = try #require(try SlurmAllocation(Environment(variables)))
    #expect(slurm.hosts.map(\.name.description) == ["n1", "n2", "n3"])
    #expect(slurm.hosts.map(\.slots) == [4, 4, 2])
    let settings = try Settings(flags: [:], environment: Environment(), file: nil)
    let plan = try ClusterPlan(settings, cores: 8, isSingleProcess: false, ownName: "n1", slurm: slurm)
    #expect(plan.ranks == 10)
    #expect(plan.threadsPerRank == 3)
    #expect(plan.placement?.hostfile == "n1 slots=4\nn2 slots=4\nn3 slots=2\n")
    #expect(try SlurmAllocation(Environment(["SLURM_JOB_NODELIST": "n1"])) == nil)
    #expect(throws: Failure.self) {
      try SlurmAllocation(Environment(variables.merging(["SLURM_TASKS_PER_NODE": "1,2"]) { $1 }))
    }
  }

  /// The sample batch script, with a stand-in for srun that says what it was given.
  @Test func batchScriptWithStandInSrun() throws {
    let folder = try temporaryFolder()
    defer {
      unlink("\(folder)/srun")
      rmdir(folder)
    }
    try writeAtomically(Array("#!/bin/sh\necho \"$OMP_NUM_THREADS\" \"$@\"\n".utf8), to: "\(folder)/srun")
    chmod("\(folder)/srun", 0o755)
    let result = try run(
      "\(packageFolder)/hostfiles/slurm.sbatch", ["sh", "-c", "x y"],
      environment: [
        "PATH": "\(folder):/usr/bin:/bin", "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_TASKS_PER_NODE": "4(x2)", "SLURM_CPUS_PER_TASK": "2", "SLURM_SUBMIT_DIR": packageFolder,
        "LOCKSTEP_STARTER": "srun", "OMP_NUM_THREADS": nil, "OPENBLAS_NUM_THREADS": nil, "LOCKSTEP_NUM_THREADS": nil,
      ])
    let launcher = "\(binaries)/launch"
    #expect(
      result.text
        == "2 --mpi=pmix --ntasks=8 --nodes=2 --nodelist=n1,n2 --cpus-per-task=2 --kill-on-bad-exit=1 --export=ALL --input=none --unbuffered -- \(launcher) --rank-agent 1000 -- /usr/bin/sh -c x y\n",
      "\(result.stderr)")
  }

  @Test func srunOutsideOfSlurm() throws {
    let result = try launch("--launcher", "srun", "true")
    #expect(result.status == 64)
    #expect(result.stderr.contains("outside of a Slurm allocation"))
  }

  @Test("SLURM_NTASKS decides how many, where a host takes more or fewer than it gets") func dealing() throws {
    func slots(_ tasksPerNode: String?, _ tasks: String?) throws -> [Int?] {
      let variables = [
        "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_TASKS_PER_NODE": tasksPerNode,
        "SLURM_NTASKS": tasks,
      ]
      return try #require(try SlurmAllocation(Environment(variables.compactMapValues { $0 }))).hosts.map(\.slots)
    }
    #expect(try slots("2(x3)", "6") == [2, 2, 2])
    #expect(try slots("2(x3)", "5") == [2, 2, 1])
    #expect(try slots("2(x3)", "4") == [2, 1, 1])
    #expect(try slots("2(x3)", "3") == [1, 1, 1])
    #expect(try slots("2(x3)", "2") == [1, 1])
    #expect(try slots("3,1(x2)", "4") == [2, 1, 1])
    #expect(try slots(nil, "8") == [3, 3, 2])
    #expect(try slots("1(x3)", nil) == [1, 1, 1])
    for bad in ["0", "", "x", "-1", "99999999999999999999"] {
      #expect(throws: Failure.self, "\(bad)") { try slots("2(x3)", bad) }
    }
  }

  @Test("threads follow from the CPUs of the host that has fewest a task, where nobody asked for a number")
  func threads() throws {
    var variables = [
      "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_TASKS_PER_NODE": "2,1",
      "SLURM_JOB_CPUS_PER_NODE": "8,3",
    ]
    func threads() throws -> Int {
      let settings = try Settings(flags: [:], environment: Environment(), file: nil)
      let slurm = try SlurmAllocation(Environment(variables))
      return try ClusterPlan(settings, cores: 64, isSingleProcess: false, ownName: "n1", slurm: slurm).threadsPerRank
    }
    #expect(try threads() == 3)
    variables["SLURM_CPUS_PER_TASK"] = "5"
    #expect(try threads() == 5)
  }

  @Test("this host is known by Slurm's name for it, and with or without its domain") func ownHost() throws {
    let settings = try Settings(flags: [:], environment: Environment(), file: nil)
    for (own, node) in [("n1.example.org", nil), ("N1", nil), ("elsewhere", "n1"), ("n1", "n1")] as [(String, String?)]
    {
      let variables = ["SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURM_NTASKS": "2", "SLURMD_NODENAME": node]
      let slurm = try SlurmAllocation(Environment(variables.compactMapValues { $0 }))
      let plan = try ClusterPlan(
        settings, cores: 2, isSingleProcess: false, ownName: LocalHostNames(hostName: own), slurm: slurm)
      #expect(plan.placement == nil && plan.ranks == 2, "\(own)")
    }
    let slurm = try SlurmAllocation(Environment(["SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1"]))
    #expect(
      try ClusterPlan(settings, cores: 2, isSingleProcess: false, ownName: "n10.x", slurm: slurm).placement != nil)
  }
}
