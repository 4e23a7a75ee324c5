import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Jobs on several hosts, which are network namespaces of this machine.
@Suite(.serialized, .needs(.hosts, .program("pgrep")))
struct ClusterTests {
  static let tool = packageFolder + "/Tests/Cluster/with-hosts"

  /// Runs `script` on node1 of `count` hosts, with `hosts` as the file `$H`; `launch` launches on them, `$C` is
  /// rankcheck, `rank N` gives the process of a rank, `left` counts the processes that are left of jobs and
  /// `remains` the things of Open MPI's, `gone N` waits up to N tenths of a second for both to be none and tells, and
  /// `parted` does so for processes alone: the sweep kills those of a host that is cut off too, for it sees them here.
  /// `ended ARGUMENTS` waits until pgrep finds nothing, and else tells what it finds.
  func run(_ script: String, hosts: String, count: Int = 2) throws -> RunResult {
    let folder = try temporaryFolder()
    defer {
      unlink("\(folder)/hosts")
      rmdir(folder)
    }
    try writeAtomically(Array(hosts.utf8), to: "\(folder)/hosts")
    let setUp = """
      H=\(folder)/hosts; B=\(binaries)/launch; C=\(binaries)/rankcheck; cd /tmp
      rank() {
        for p in /proc/[0-9]*; do
          grep -qzx "OMPI_COMM_WORLD_RANK=$1" $p/environ 2>/dev/null || continue
          grep -qz -e --rank-agent $p/cmdline || echo ${p#/proc/}
        done | sort -n | tail -1
      }
      left() { grep -lz '^LOCKSTEP_RUN_ID=' /proc/[0-9]*/environ 2>/dev/null | wc -l; }
      remains() { find /dev/shm "$TMPDIR" -name 'vader_segment.*' -o -name 'osc_sm.*' -o -name 'pid.*' | wc -l; }
      gone() {
        for i in $(seq $1); do
          [ $(($(left) + $(remains))) = 0 ] && break
          sleep 0.1
        done
        echo $(($(left) + $(remains)))
      }
      parted() { for i in $(seq 500); do [ $(left) = 0 ] && break; sleep 0.1; done; left; }
      ended() { for i in $(seq 100); do pgrep "$@" >/dev/null || return; sleep 0.1; done; pgrep "$@"; }
      launch() { "$B" --hostfile "$H" --remote_shell "$CLUSTER_AGENT" --network 10.77.0.0/24 "$@"; }
      """
    return try Running(Self.tool, ["\(count)", "bash", "-c", setUp + "\n" + script].map { Array($0.utf8) }).finish(
      within: 150)
  }

  @Test func unevenSlotsOnFourHosts() throws {
    let result = try run(
      "launch sh -c 'echo $OMPI_COMM_WORLD_RANK $(hostname) $LOCKSTEP_NUM_THREADS $OMP_NUM_THREADS'",
      hosts: "node1 slots=1\nnode2 slots=2\nnode3 slots=1\nnode4 slots=3\n", count: 4)
    #expect(result.status == 0, "\(result.stderr)")
    let hosts = [1, 2, 2, 3, 4, 4, 4]
    #expect(result.lines.sorted() == hosts.enumerated().map { "\($0.offset) node\($0.element) 1 1" })
  }

  @Test func argumentsAndVariablesReachTheOtherHost() throws {
    let result = try run(
      "V=\"a 'b' \\$c\" launch --export V sh -c 'printf \"%s|\" \"$(hostname)\" \"$V\" \"$@\"' x \"it's\" '$(y)' 'ä b'",
      hosts: "node2 slots=1\n")
    #expect(result.text == "node2|a 'b' $c|it's|$(y)|ä b|", "\(result.stderr)")
  }

  @Test("a program without the library that is killed on another host is named") func rankOnAnotherHostIsKilled() throws
  {
    let result = try run(
      "launch sh -c 'if [ $OMPI_COMM_WORLD_RANK = 1 ]; then kill -9 $$; fi; sleep 600'; echo $?; ended -x sleep",
      hosts: "node1 slots=1\nnode2 slots=1\n")
    #expect(result.text == "75\n")
    #expect(result.stderr.contains("SIGKILL"))
    #expect(result.seconds < 40)
  }

  @Test func statusOfARankOnAnotherHost() throws {
    let result = try run("launch sh -c 'exit 65'", hosts: "node2 slots=2\n")
    #expect(result.status == 65)
    #expect(result.error.contains(" (host node2, pid ") && result.error.contains("ended with status 65"))
  }

  @Test("a dead host is named before anything starts") func deadHostIsNamedBeforeAnythingStarts() throws {
    let result = try run("launch sh -c 'echo started'", hosts: "node1 slots=1\nnode9 slots=1\n")
    #expect(result.status == 69)
    #expect(result.stderr.contains("host node9: cannot be reached"))
    #expect(result.stdout.isEmpty)
    #expect(result.seconds < 40)
  }

  @Test("a program or folder that a host lacks is named") func missingProgramAndFolder() throws {
    let program = try run(
      """
      printf '#!/bin/sh\\ntrue\\n' >$CLUSTER_FOLDER/p; chmod +x $CLUSTER_FOLDER/p
      printf '#!/bin/sh\\nshift; rm -f $CLUSTER_FOLDER/p; exec sh -c "$*"\\n' >$CLUSTER_FOLDER/agent2; chmod +x $CLUSTER_FOLDER/agent2
      $B --hostfile $H --remote_shell $CLUSTER_FOLDER/agent2 $CLUSTER_FOLDER/p
      """, hosts: "node2 slots=1\n")
    #expect(program.status == 69)
    #expect(program.stderr.contains("host node2: has no program"))
    let folder = try run("launch --working_folder /nonexistent true", hosts: "node2 slots=1\n")
    #expect(folder.status == 69)
    #expect(folder.stderr.contains("host node2: has no folder /nonexistent"))
  }

  @Test("an agent that hangs is given up") func agentThatHangsIsGivenUp() throws {
    let result = try run(
      """
      printf '#!/bin/sh\\nsleep 600\\n' >$CLUSTER_FOLDER/slow; chmod +x $CLUSTER_FOLDER/slow
      $B --hostfile $H --remote_shell $CLUSTER_FOLDER/slow true; echo $?; ended -x sleep
      """, hosts: "node2 slots=1\n")
    #expect(result.text == "69\n")
    #expect(result.stderr.contains("host node2: no answer within 15 s"))
    #expect(result.seconds < 40)
  }

  @Test("a host with the program and nothing else takes part in training, asking and measuring") func dataOnOneHost()
    throws
  {
    let golden = "\(packageFolder)/Tests/Golden"
    let result = try run(
      """
      D=$CLUSTER_FOLDER/d; mkdir $D; cp -r \(golden)/tiny-bert $D/model; cp -r \(golden)/mrpc $D/data
      cat >$CLUSTER_FOLDER/agent2 <<END
      #!/bin/sh
      host=\\$1; shift
      [ \\$host = node1 ] || exec $CLUSTER_AGENT \\$host mount -t tmpfs none $D \\; "\\$@"
      exec $CLUSTER_AGENT \\$host "\\$@"
      END
      chmod +x $CLUSTER_FOLDER/agent2
      L="--hostfile $H --remote_shell $CLUSTER_FOLDER/agent2 --network 10.77.0.0/24 -n 3"
      $CLUSTER_FOLDER/agent2 node2 "ls $D"
      "$B" $L finetune --model $D/model --data $D/data --max-steps 4 --output-dir $D/out >/dev/null; echo $?
      "$B" $L finetune --model $D/model --train-file $D/data/train.tsv --validation-file $D/data/dev.tsv \
        --text-column '#1 String' --text-pair-column '#2 String' --label-column Quality --max-steps 1 >/dev/null; echo $?
      "$B" $L predict --model $D/out --task mrpc --data $D/data | wc -l
      "$B" $L evaluate --model $D/out --task mrpc --data $D/data | grep -c '^accuracy'
      """, hosts: "node1 slots=1\nnode2 slots=2\n")
    #expect(result.text == "0\n0\n30\n1\n", "\(result.text) \(result.stderr)")
  }

  @Test("a lost daemon names the host to programs without the library too") func lostDaemonNamesTheHost() throws {
    let result = try run(
      "(sleep 1.5; pkill -9 -x orted) & launch sleep 600; echo $?; ended -x sleep",
      hosts: "node1 slots=1\nnode2 slots=1\n")
    #expect(result.text == "75\n")
    #expect(result.stderr.contains("host node2 was lost"))
    #expect(result.seconds < 40)
  }

  @Test(
    "without a watchdog, the keepalive of MPI names the host",
    .needs(.patience))
  func cutLinkIsSeen() throws {
    let result = try run(
      "(sleep 1.5; ip link set eth0 down) & launch sleep 600; echo $?", hosts: "node1 slots=1\nnode2 slots=1\n")
    #expect(result.text == "75\n")
    #expect(result.stderr.contains("host node2 was lost"))
    #expect(result.seconds < 60)
  }

  @Test("a signal ends the ranks of all hosts") func signalEndsAllHosts() throws {
    let result = try run(
      "launch() { exec \"$B\" --hostfile \"$H\" --remote_shell \"$CLUSTER_AGENT\" \"$@\"; }; launch sh -c 'echo up; exec sleep 600' & P=$!; sleep 1.5; kill $P; wait $P; echo $?; ended -x sleep",
      hosts: "node1 slots=1\nnode2 slots=2\n")
    #expect(result.text == "up\nup\nup\n143\n")
    #expect(result.seconds < 40)
  }
}
