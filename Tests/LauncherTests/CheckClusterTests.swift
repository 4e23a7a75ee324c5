import Glibc
import Launcher
import System
import TestSupport
import Testing

/// `check`, and what is checked before every job, on hosts that are network namespaces.
@Suite(.serialized, .needs(.hosts))
struct CheckClusterTests {
  static let docker = """
    for host in node1 node2; do
      ip netns exec $host sh -c 'ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up'
    done

    """

  func run(_ script: String, hosts: String = "node1 slots=1\nnode2 slots=2\n", count: Int = 2) throws -> RunResult {
    let setUp = """
      B=\(binaries)/launch; H=$CLUSTER_FOLDER/h; cd /tmp; printf '\(hosts.replacing("\n", with: "\\n"))' >$H
      L="--hostfile $H --remote_shell $CLUSTER_AGENT"

      """
    return try Running(ClusterTests.tool, ["\(count)", "bash", "-c", setUp + script].map { Array($0.utf8) }).finish()
  }

  @Test func allIsWell() throws {
    let result = try run("\"$B\" check $L; echo $?")
    #expect(result.text.contains("3 ranks: node1 1 (line 1), node2 2 (line 2)\n"), "\(result.text) \(result.stderr)")
    #expect(result.text.contains("\nok      host node1: 1 rank, "))
    #expect(result.text.contains("\nall-reduce of 1 kB over 2 ranks on 2 hosts: "))
    #expect(result.text.contains("\nall-reduce of 64 MB over 2 ranks on 2 hosts: "))
    #expect(result.lines.last == "0")
    #expect(result.seconds < 40)
  }

  @Test func selfTestOnUnevenHosts() throws {
    let result = try run("\"$B\" test -q $L", hosts: "node1 slots=1\nnode2 slots=2\nnode3 slots=1\n", count: 3)
    #expect(result.lines.last == SelftestTests.success, "\(result.stderr)")
    #expect(
      result.lines.prefix(4).map { $0.split(separator: ",").first.map(String.init) ?? "" } == [
        "rank 0 of 4: node1", "rank 1 of 4: node2", "rank 2 of 4: node2", "rank 3 of 4: node3",
      ])
  }

  @Test("an interface that leads nowhere is named, and a job goes round it") func bridges() throws {
    let result = try run(Self.docker + "\"$B\" check $L; \"$B\" $L selftest network")
    for host in ["node1", "node2"] {
      #expect(
        result.text.contains(
          "warning host \(host): docker0 (172.17.0.1/16) leads to no other host, MPI may try it and hang (--network 10.77.0.0/24)"
        ),
        "\(result.text)")
    }
    #expect(result.stderr.contains("note: using the network 10.77.0.0/24, which all hosts have"), "\(result.stderr)")
    #expect(result.lines.last?.hasPrefix("all-reduce of 64 MB over 3 ranks on 2 hosts: ") == true)
    #expect(result.seconds < 40)
  }

  @Test("another build is found before anything starts") func otherBuild() throws {
    let result = try run(
      """
      cp \(binaries)/launch \(binaries)/finetune $CLUSTER_FOLDER
      cat >$CLUSTER_FOLDER/agent2 <<END
      #!/bin/sh
      [ \\$1 = node1 ] || exec $CLUSTER_AGENT \\$1 mount --bind /bin/true $CLUSTER_FOLDER/finetune \\; "\\$2"
      exec $CLUSTER_AGENT "\\$@"
      END
      chmod +x $CLUSTER_FOLDER/agent2
      $CLUSTER_FOLDER/launch --hostfile $H --remote_shell $CLUSTER_FOLDER/agent2 finetune --max-steps 1; echo $?
      """)
    #expect(result.text == "76\n")
    #expect(result.stderr.contains("host node2: has another build of "), "\(result.stderr)")
    #expect(result.stderr.utf8.count { $0 == 10 } == 1)
  }

  @Test("a remote shell that is missing is named") func missingAgent() throws {
    let result = try run("\"$B\" --hostfile $H --remote_shell /nonexistent/agent true; echo $?")
    #expect(result.text == "69\n")
    #expect(result.stderr == "launch: error: /nonexistent/agent: cannot be started: No such file or directory\n")
  }
}

/// Jobs under every kind of mpirun that there is, through the launcher.
@Suite(.serialized) struct OtherMPITests {
  @Test(arguments: Array(RealMPI.found.keys)) func jobs(_ flavour: MPIFlavour) throws {
    let options = ["--mpirun", try #require(RealMPI.found[flavour]), "-n", "2"]
    let rank = "${OMPI_COMM_WORLD_RANK-$PMI_RANK}"
    let words = [
      "--num_cpu_threads_per_process", "1", "--export", "V", "sh", "-c",
      "echo \(rank) $V $OMP_NUM_THREADS $LOCKSTEP_RUN_ID",
    ]
    let job = try run("\(binaries)/launch", options + words, environment: ["V": "a b"])
    #expect(job.status == 0, "\(job.stderr)")
    #expect(job.lines.sorted().map { $0.prefix(7) } == ["0 a b 1", "1 a b 1"], "\(job.text)")
    let status = try run("\(binaries)/launch", options + ["sh", "-c", "exit 7"])
    #expect(status.status == 7)
    let killed = try run(
      "\(binaries)/launch", options + ["sh", "-c", "if [ \(rank) = 1 ]; then kill -9 $$; fi; exec sleep 2"])
    // Hydra's own status says less.
    #expect(flavour.isOpenMPI ? killed.status == 75 : killed.status != 0, "\(killed.stderr)")
    #expect(killed.seconds < 40)
    // Also when the launcher is killed, nothing stays.
    let running = try Running(
      "\(binaries)/launch", (options + ["sh", "-c", "echo $LOCKSTEP_RUN_ID; exec sleep 600"]).map { Array($0.utf8) })
    try #require(running.wait { running.output().utf8.count { $0 == 10 } == 2 })
    let left = try #require(running.output().split(separator: "\n").first.map(String.init))
    kill(running.child.pid, SIGKILL)
    #expect(running.wait { JobProcesses.find(runID: left).isEmpty }, "\(flavour)")
    _ = JobProcesses.kill(runID: left)
    _ = running.finish()
    let id = job.lines.first?.split(separator: " ").last.map(String.init)
    #expect(JobProcesses.find(runID: try #require(id)).isEmpty)
  }
}
