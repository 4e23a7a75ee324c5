import Glibc
import Launcher
import System
import TestSupport
import Testing

/// What happens to jobs on several hosts when ranks, hosts and links fail.
@Suite(.serialized, .needs(.hosts, .program("pgrep")))
struct ClusterFailureTests {
  static let two = "node1 slots=2\nnode2 slots=2\n"
  /// Starts a job that works until it is stopped, as process `$P`, with its output in files, and waits until it is under way.
  static func work(_ options: String = "", check: String = "works 20") -> String {
    """
    exec 3>&1
    launch() { exec "$B" --hostfile "$H" --remote_shell "$CLUSTER_AGENT" --network 10.77.0.0/24 "$@"; }
    launch \(options) $C \(check) >$CLUSTER_FOLDER/out & P=$!
    until [ $(grep -c works $CLUSTER_FOLDER/out) = 4 ]; do sleep 0.1; done; sleep 1
    """
  }
  static let wait = "S=$SECONDS; wait $P; echo $? $((SECONDS - S)); gone 100"
  static let waitParted = "S=$SECONDS; wait $P; echo $? $((SECONDS - S)); parted"

  func run(_ script: String, hosts: String = two, count: Int = 2) throws -> RunResult {
    try ClusterTests().run(script, hosts: hosts, count: count)
  }

  /// The status, the seconds until the end and the number of processes left.
  func end(_ result: RunResult) throws -> (status: Int, seconds: Int, left: Int) {
    let numbers = result.text.split { $0 == " " || $0 == "\n" }.suffix(3).compactMap { Int($0) }
    try #require(numbers.count == 3, "\(result.text) \(result.stderr)")
    return (numbers[0], numbers[1], numbers[2])
  }

  @Test("a killed rank of four on two hosts is named, and nothing is left", arguments: [0, 3]) func killed(rank: Int)
    throws
  {
    let result = try run(Self.work() + "\nkill -9 $(rank \(rank)); " + Self.wait)
    let end = try end(result)
    #expect(end.status == 75 && end.seconds <= 25 && end.left == 0, "\(end) \(result.stderr)")
    #expect(
      result.error.hasPrefix("launch: error: rank \(rank) (host node\(rank < 2 ? 1 : 2), pid "), "\(result.stderr)")
    #expect(result.error.contains("ended by signal 9 (SIGKILL) after step "))
  }

  @Test("a stopped rank on another host is named") func stopped() throws {
    let result = try run(Self.work("--stall_timeout 3") + "\nkill -STOP $(rank 2); " + Self.wait)
    let end = try end(result)
    #expect(end.status == 75 && end.seconds <= 25 && end.left == 0, "\(end) \(result.stderr)")
    #expect(
      result.error.contains("rank 2 (host node2, pid ") && result.error.contains("): stopped (state T), last seen"),
      "\(result.stderr)")
    #expect(result.error.contains("and 3 ranks wait in call "))
  }

  @Test("a host whose daemon is killed is named as lost") func daemon() throws {
    let result = try run(Self.work() + "\nkill -9 $(pgrep -x orted); " + Self.wait)
    let end = try end(result)
    #expect(end.status == 75 && end.seconds <= 25 && end.left == 0, "\(end) \(result.stderr)")
    #expect(result.error.contains("host node2 was lost"), "\(result.stderr)")
  }

  @Test("a link is cut for ever; the watchdog names the host") func cut() throws {
    let result = try run(Self.work("--stall_timeout 3") + "\nip link set eth0 down; " + Self.waitParted)
    let end = try end(result)
    #expect(end.status == 75 && end.seconds <= 25 && end.left == 0, "\(end) \(result.stderr)")
    #expect(
      result.error.contains("(host node2, pid ") && result.error.contains("no sign of life for 3 s"), "\(result.stderr)"
    )
  }

  @Test("a link that is cut while the job starts ends the job")
  func cutAtStart() throws {
    let result = try run(
      """
      launch() { exec "$B" --hostfile "$H" --remote_shell "$CLUSTER_AGENT" --network 10.77.0.0/24 "$@"; }
      launch $C works 20 >$CLUSTER_FOLDER/out & P=$!
      until pgrep -f '^[^ ]*mpirun --hostfile' >/dev/null; do sleep 0.01; done; ip link set eth0 down
      \(Self.waitParted)
      """)
    let end = try end(result)
    #expect([69, 75].contains(end.status) && end.seconds <= 60 && end.left == 0, "\(end) \(result.stderr)")
    #expect(result.error.contains("node2"), "\(result.stderr)")
  }

  /// `train NAME OPTIONS…` trains on the hosts and puts the weights into the folder NAME; `sums` counts how many different
  /// ones there are.
  static let train = """
    train() {
      name=$1; shift
      "$B" --hostfile "$H" --remote_shell "$CLUSTER_AGENT" --stall_timeout 20 "$@" finetune \
        --model \(packageFolder)/Tests/Golden/tiny-bert --data \(packageFolder)/Tests/Golden/mrpc --max-steps $STEPS \
        --output-dir $CLUSTER_FOLDER/$name >$CLUSTER_FOLDER/$name.out
    }
    sums() { cat $CLUSTER_FOLDER/*/model.safetensors | wc -c; sha256sum $CLUSTER_FOLDER/*/model.safetensors | cut -c -64 | sort -u | wc -l; }

    """

  @Test("a link is cut and heals: the same bits", arguments: [2, 5]) func heals(seconds: Int) throws {
    let result = try run(
      Self.train + """
        STEPS=200; train a --network 10.77.0.0/24
        train b --network 10.77.0.0/24 & P=$!
        until grep -q 'step  *1/' $CLUSTER_FOLDER/b.out; do sleep 0.02; done
        ip link set eth0 down; sleep \(seconds); grep -c 'step  *200/' $CLUSTER_FOLDER/b.out; ip link set eth0 up
        wait $P; echo $?; gone 100; sums
        """, hosts: Self.oneEach)
    // Not at its end while the link was cut; 0, nothing left, two models, one digest.
    #expect(result.lines.prefix(3) == ["0", "0", "0"] && result.lines.last == "1", "\(result.text) \(result.stderr)")
    #expect(!result.stderr.contains("stands still"), "\(result.stderr)")
  }

  static let oneEach = "node1 slots=1\nnode2 slots=1\n"

  @Test("SIGTERM ends a job whose link is cut") func cutThenStop() throws {
    let result = try run(Self.work() + "\nip link set eth0 down; sleep 0.3; kill -TERM $P; " + Self.waitParted)
    let end = try end(result)
    #expect(end.status == 143 && end.seconds <= 25 && end.left == 0, "\(end) \(result.stderr)")
  }

  @Test("10 Mbit/s is no stall, and the same bits", .needs(.slowLink)) func slow() throws {
    let result = try run(
      Self.train + """
        STEPS=10; train a --network 10.77.0.0/24
        tc qdisc add dev eth0 root tbf rate 10mbit burst 32kbit latency 400ms
        launch --stall_timeout 5 $C broadcasts 20; echo $?
        train b --network 10.77.0.0/24; echo $?; gone 100; sums
        """, hosts: Self.oneEach)
    #expect(result.lines.prefix(3) == ["0", "0", "0"] && result.lines.last == "1", "\(result.text) \(result.stderr)")
    #expect(!result.stderr.contains("stands still"), "\(result.stderr)")
    #expect(result.seconds > 10, "the network was not slow")
  }

  @Test(
    "200 ms there and back, one per cent of packets lost, and the same bits",
    .needs(.tunnel))
  func far() throws {
    let result = try run(
      Self.train + """
        STEPS=4; train a --network 10.77.0.0/24
        \(packageFolder)/Tests/Cluster/wire 100 1 >$CLUSTER_FOLDER/wire & W=$!
        until grep -q up $CLUSTER_FOLDER/wire; do kill -0 $W || exit 1; sleep 0.1; done
        train b --network 10.78.0.0/24; S=$?
        kill $W; echo $S; gone 100; sums
        """, hosts: Self.oneEach)
    #expect(result.lines.prefix(2) == ["0", "0"] && result.lines.last == "1", "\(result.text) \(result.stderr)")
    #expect(!result.stderr.contains("stands still"), "\(result.stderr)")
  }

  @Test("kill -9 of the launcher ends everything on both hosts, hidden helpers too") func killedLauncher() throws {
    let result = try run(
      """
      launch() { exec "$B" --hostfile "$H" --remote_shell "$CLUSTER_AGENT" "$@"; }
      launch sh -c "setsid sh -c 'trap \\"\\" TERM; sleep 613' & echo works; sleep 600" >$CLUSTER_FOLDER/out & P=$!
      until [ $(grep -c works $CLUSTER_FOLDER/out) = 4 ]; do sleep 0.1; done
      pgrep -fxc 'sleep 613'; kill -9 $P; wait $P
      for i in $(seq 300); do [ $(left) = 0 ] && break; sleep 0.1; done
      left; ended -fx 'sleep 613' >&2; pgrep -fxc 'sleep 613'
      """)
    #expect(result.lines == ["4", "0", "0"], "\(result.text) \(result.stderr)")
  }

  @Test("a hidden helper on another host ends with its rank") func helper() throws {
    let result = try run(
      "launch env -i sh -c 'setsid sleep 614 & true'; echo $?; ended -fx 'sleep 614' >&2; pgrep -fxc 'sleep 614'")
    #expect(result.lines == ["0", "0"], "\(result.text) \(result.stderr)")
  }

  @Test("another build of the program on the other host is refused at the start") func otherBuild() throws {
    let result = try run(
      """
      cp \(binaries)/finetune $CLUSTER_FOLDER/p; cp $CLUSTER_FOLDER/p $CLUSTER_FOLDER/q; echo >>$CLUSTER_FOLDER/q
      printf '#!/bin/sh\nhost=$1; shift\nexec ip netns exec $host unshare --mount --uts sh -c "hostname $host; mount --bind $CLUSTER_FOLDER/q $CLUSTER_FOLDER/p; $*"\n' \
        >$CLUSTER_FOLDER/agent3; chmod +x $CLUSTER_FOLDER/agent3
      "$B" --hostfile "$H" --remote_shell $CLUSTER_FOLDER/agent3 sh -c "exec $CLUSTER_FOLDER/p"; echo $?; gone 100
      """, hosts: Self.oneEach)
    #expect(result.lines.suffix(2) == ["76", "0"], "\(result.text) \(result.stderr)")
    #expect(
      result.stderr.contains("the ranks differ in the program's build: rank 1 (host node2) ")
        && result.stderr.contains(", rank 0 (host node1) "), "\(result.stderr)")
  }

  @Test("hosts whose names differ in their domain only are two hosts") func domains() throws {
    let result = try run(
      """
      printf '10.77.0.2 a.x.org\n10.77.0.3 a.y.org\n' >>/etc/hosts
      printf '#!/bin/sh\ncase $1 in a.x.org) host=node2;; a.y.org) host=node3;; esac; name=$1; shift\nexec ip netns exec $host unshare --uts sh -c "hostname $name; $*"\n' \
        >$CLUSTER_FOLDER/agent3; chmod +x $CLUSTER_FOLDER/agent3
      "$B" --hostfile "$H" --remote_shell $CLUSTER_FOLDER/agent3 --network 10.77.0.0/24 sh -c 'echo $OMPI_COMM_WORLD_RANK $(hostname)'
      "$B" --hostfile "$H" --remote_shell $CLUSTER_FOLDER/agent3 --network 10.77.0.0/24 -q selftest network >/dev/null; echo $?
      """, hosts: "a.x.org slots=1\na.y.org slots=2\n", count: 3)
    #expect(
      result.lines.sorted() == ["0", "0 a.x.org", "1 a.y.org", "2 a.y.org"], "\(result.text) \(result.stderr)")
  }

  @Test("a host without the launcher's binary is named before anything starts") func noLauncher() throws {
    let result = try run(
      """
      L=$(readlink -f $B)
      printf '#!/bin/sh\\nhost=$1; shift\\nexec ip netns exec $host unshare --mount sh -c "mount --bind /dev/null '$L' && $*"\\n' \
        | sed "s|\\$L|$L|" >$CLUSTER_FOLDER/agent3; chmod +x $CLUSTER_FOLDER/agent3
      "$B" --hostfile "$H" --remote_shell $CLUSTER_FOLDER/agent3 true; echo $?
      """)
    #expect(result.text == "69\n", "\(result.stderr)")
    #expect(result.stderr.contains("host node2: has no program ") && result.stderr.contains("/launch"))
  }

  @Test("a restart leaves out a host that was lost", .needs(.program("ps"))) func restart() throws {
    let result = try run(
      """
      launch --max_restarts 2 --exclude_lost_hosts sh -c '
        if [ $(hostname) = node2 ]; then sleep 1; kill -9 $(ps -o ppid= -p $PPID); sleep 600; fi
        [ $OMPI_COMM_WORLD_SIZE = 2 ] && echo two || sleep 600'; echo $?
      """)
    #expect(result.lines == ["two", "two", "0"], "\(result.text) \(result.stderr)")
    #expect(result.stderr.contains("host node2 is left out: 2 ranks from now on"))
  }

  @Test("a stop reaches the ranks on both hosts after the same step") func stop() throws {
    let result = try run(
      Self.work() + "\nkill -INT $P; " + Self.wait + "; sort -u $CLUSTER_FOLDER/out | grep -c stopped")
    #expect(result.text.hasPrefix("130 ") && result.lines.last == "1", "\(result.text) \(result.stderr)")
  }
}
