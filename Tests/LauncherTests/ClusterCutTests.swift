import Glibc
import Launcher
import System
import TestSupport
import Testing

/// A link that is cut while ranks are not in a step.
@Suite(.serialized, .needs(.hosts, .program("pgrep")))
struct ClusterCutTests {
  /// Runs the check until `ready` holds, cuts the link, and prints the status, the seconds until the end, and the seconds
  /// until no process is left on either host.
  func cut(_ check: String, setUp: String = "", when ready: String) throws -> (RunResult, Cut) {
    let result = try ClusterTests().run(
      """
      launch() { exec "$B" --hostfile "$H" --remote_shell "$CLUSTER_AGENT" --network 10.77.0.0/24 "$@"; }
      \(setUp)
      launch --stall_timeout 3 $C \(check) >$CLUSTER_FOLDER/out & P=$!
      until \(ready); do sleep 0.01; done
      ip link set eth0 down
      S=$SECONDS; wait $P; echo $? $((SECONDS - S))
      for i in $(seq 500); do [ $(left) = 0 ] && break; sleep 0.1; done
      echo $((SECONDS - S)) $(left)
      """, hosts: ClusterFailureTests.two)
    let numbers = result.text.split { $0 == " " || $0 == "\n" }.compactMap { Int($0) }
    try #require(numbers.count == 4, "\(result.text) \(result.stderr)")
    return (result, Cut(status: numbers[0], seconds: numbers[1], partedSeconds: numbers[2], left: numbers[3]))
  }

  /// How a job ended whose link was cut.
  struct Cut {
    var status: Int
    var seconds: Int
    /// Until no process was left on either host, and how many were left in the end.
    var partedSeconds: Int
    var left: Int
  }

  func expectNamed(_ result: RunResult, _ cut: Cut, within seconds: Int) {
    #expect(cut.status == 75 && cut.seconds <= seconds, "\(cut) \(result.stderr)")
    #expect(result.error.contains("host node2"), "\(result.stderr)")
    // Both sides' ranks: the far ones by their own keepalive.
    #expect(cut.partedSeconds <= 60 && cut.left == 0, "\(cut)")
  }

  @Test("a link is cut during a save: one rank writes, the others wait for its end") func duringSave() throws {
    let (result, numbers) = try cut(
      "seems-to-save 20", when: "[ $(grep -c saves $CLUSTER_FOLDER/out) = 4 ] && sleep 1.5")
    expectNamed(result, numbers, within: 25)
    #expect(result.error.contains("no sign of life for 3 s"), "\(result.stderr)")
  }

  @Test("a link is cut during the last gather", .needs(.slowLink)) func duringGather() throws {
    let (result, numbers) = try cut(
      "gathers 20", setUp: "tc qdisc add dev eth0 root tbf rate 10mbit burst 32kbit latency 400ms",
      when: "[ $(grep -c gathers $CLUSTER_FOLDER/out) = 4 ] && sleep 1.5")
    expectNamed(result, numbers, within: 25)
    #expect(result.error.contains("no sign of life for 3 s"), "\(result.stderr)")
  }

  @Test("a link is cut while MPI comes up on ranks that have started") func duringStart() throws {
    let (result, numbers) = try cut("seems-to-save 20", when: "[ $(pgrep -xc rankcheck) = 4 ]")
    expectNamed(result, numbers, within: 60)
  }
}
