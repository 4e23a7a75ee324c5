import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Hosts behind a real sshd.
@Suite(.serialized, .needs(.sshServer, .program("pgrep")))
struct SSHTests {
  /// Runs `script` on node1 of two hosts; `$L` launches on the hosts of `$H`.
  func run(_ script: String) throws -> RunResult {
    let setUp = """
      B=\(binaries)/launch; H=$CLUSTER_FOLDER/h; cd /tmp
      printf 'node1 slots=1\\nnode2 slots=2\\n' >$H
      launch() { "$B" --hostfile $H --ssh_port 2222 --network 10.77.0.0/24 "$@"; }
      """
    let words = ["2", "\(packageFolder)/Tests/Cluster/with-sshd", Capability.sshd, "bash", "-c", setUp + "\n" + script]
    return try Running(ClusterTests.tool, words.map { Array($0.utf8) }).finish()
  }

  @Test func aJobAndItsCheck() throws {
    let result = try run(
      """
      launch --ssh_identity $SSH_KEY sh -c 'echo $OMPI_COMM_WORLD_RANK $(hostname) "$@"' x "it's" '$(y)'
      "$B" check --hostfile $H --ssh_port 2222 --ssh_identity $SSH_KEY
      for i in $(seq 50); do pgrep -x orted >/dev/null || break; sleep 0.1; done; pgrep -x orted
      """)
    #expect(
      result.lines.prefix(3).sorted() == ["0 node1 it's $(y)", "1 node2 it's $(y)", "2 node2 it's $(y)"],
      "\(result.stderr)")
    #expect(result.text.contains("all-reduce of 64 MB over 2 ranks on 2 hosts: "), "\(result.text) \(result.stderr)")
    // Nothing of Open MPI is left.
    #expect(result.lines.last?.hasPrefix("all-reduce of 64 MB") == true)
    // A machine of one core has a note on node2's two ranks.
    let notes = result.stderr.split(separator: "\n").filter { !$0.hasPrefix("launch: note: host node2: 2 ranks of 1 ") }
    #expect(notes.isEmpty, "\(notes)")
  }

  @Test("what ssh cannot reach is said in words: key, port, name, route and network") func refusals() throws {
    let result = try run(
      """
      launch --ssh_identity $SSH_FOLDER/stranger touch $CLUSTER_FOLDER/mark; echo $?
      "$B" --hostfile $H --ssh_port 2223 touch $CLUSTER_FOLDER/mark; echo $?
      echo >$SSH_FOLDER/home/.ssh/known_hosts
      launch --ssh_identity $SSH_KEY touch $CLUSTER_FOLDER/mark; echo $?
      for host in node7.example.org 10.77.0.77 192.0.2.1; do
        printf 'node1 slots=1\\n%s slots=2\\n' $host >$H; launch touch $CLUSTER_FOLDER/mark; echo $?
      done
      [ -e $CLUSTER_FOLDER/mark ] || echo nothing started
      """)
    #expect(result.lines == Array(repeating: "69", count: 6) + ["nothing started"], "\(result.stderr)")
    let errors = result.stderr.split(separator: "\n")
    #expect(errors.count == 6)
    for (error, says) in zip(
      errors,
      [
        "host node2: refuses the key: root@node2: Permission denied", "host node2: refuses ssh: ssh: connect to host",
        "host node2: its key is unknown: Host key verification failed.",
        "host node7.example.org: its name is unknown: ssh: Could not resolve hostname",
        "host 10.77.0.77: is not reached: ssh: connect to host 10.77.0.77 port 2222: No route to host",
        "host 192.0.2.1: is not reached: ssh: connect to host 192.0.2.1 port 2222: Network is unreachable",
      ])
    {
      #expect(error.contains(says))
      #expect(error.contains("try: ") && error.contains("BatchMode=yes"))
    }
    #expect(result.seconds < 40)
  }
}
