import Glibc
import Launcher
import System
import TestSupport
import Testing

/// How jobs of a real Slurm are stopped, lose ranks and start again. A job that was stopped midway never ends with 0, so that
/// one which waits for it by `afterok` does not start; and nothing is left of it on any node.
extension RealSlurmTests {
  /// What follows scancel, on how many nodes, and what Slurm says of the job's end.
  static let stops: [(scancel: String, nodes: Int, end: String)] = [
    ("", 1, "CANCELLED 143:0"), ("", 2, "CANCELLED 143:0"),
    ("--batch --signal=TERM", 1, "FAILED 143:0"), ("--batch --signal=USR1", 2, "FAILED 138:0"),
    // To the batch script and all that it has started.
    ("--full --signal=TERM", 2, "FAILED 143:0"), ("--full --signal=USR1", 2, "FAILED 138:0"),
    // To what srun has started, and not to the launcher.
    ("--signal=TERM", 2, "FAILED 75:0"), ("--signal=USR1", 2, "FAILED 138:0"),
  ]

  @Test("scancel, with and without a signal", arguments: starters) func scancel(starter: String) throws {
    let start = Self.stops.map { stop in
      """
      job=$(submit -N \(stop.nodes) -n 2 -- "exec $B/launch --launcher \(starter) $C works 50")
      jobs+=($job); nexts+=($(submit --dependency=afterok:$job --kill-on-invalid-dep=yes -- true))
      """
    }
    let stop = Self.stops.enumerated().map { "scancel \($0.element.scancel) ${jobs[\($0.offset)]}" }
    let result = try run(
      """
      \(start.joined(separator: "\n"))
      for job in ${jobs[@]}; do shows $job 'rank 0 works' && shows $job 'rank 1 works'; done
      # Once they take steps they look whether they are to stop.
      sleep 3
      \(stop.joined(separator: "\n"))
      ended ${jobs[@]} ${nexts[@]}; cat $O/${jobs[7]}
      """)
    let ends = Self.stops.map(\.end) + Self.stops.map { _ in "CANCELLED 0:0" }
    #expect(Array(result.lines.prefix(ends.count)) == ends, "\(result.text) \(result.stderr)")
    #expect(!result.text.contains("left: "), "\(result.text)")
    #expect(
      result.text.contains("launch: error: the ranks have stopped after step ")
        && result.text.contains("as a signal to \(starter), an agent or a rank asked them to"), "\(result.text)")
  }

  @Test("a job that is requeued runs again, and ends well", arguments: starters) func requeue(starter: String) throws {
    let result = try run(
      """
      job=$(submit -N 2 -n 2 --requeue -- "exec $B/launch --launcher \(starter) $C \\${SLURM_RESTART_COUNT:+steps 3} works 20")
      next=$(submit --dependency=afterok:$job --kill-on-invalid-dep=yes -- true)
      shows $job 'rank 0 works' && shows $job 'rank 1 works'
      scontrol requeue $job
      # Slurm would wait for two minutes; and slurmd refuses what starts in the second of the requeue.
      becomes $job PENDING; scontrol update JobId=$job StartTime=now+3
      ended $job $next
      [[ $(state $job) == COMPLETED ]] || cat $O/$job >&2
      scontrol --oneliner show job $job | grep -o 'Restarts=[0-9]*'
      """)
    #expect(result.lines == ["COMPLETED 0:0", "COMPLETED 0:0", "Restarts=1"], "\(result.text) \(result.stderr)")
  }

  @Test("a job that is suspended for longer than a stall lasts goes on and ends well", arguments: starters)
  func suspend(starter: String) throws {
    let result = try run(
      """
      job=$(submit -N 2 -n 2 -- "exec $B/launch --stall_timeout 5 --launcher \(starter) $C steps 60")
      becomes $job RUNNING; sleep 2
      scontrol suspend $job; becomes $job SUSPENDED; sleep 9
      scontrol resume $job
      ended $job; cat $O/$job
      """)
    #expect(result.lines.first == "COMPLETED 0:0", "\(result.text) \(result.stderr)")
    #expect(!result.text.contains("launch: "), "\(result.text)")
  }

  @Test("a killed rank: 75, and it is named", arguments: starters) func killedRank(starter: String) throws {
    let result = try run(
      """
      job=$(submit -N 2 -n 2 -- "exec $B/launch --launcher \(starter) $C works 20")
      shows $job 'rank 0 works' && shows $job 'rank 1 works'
      sleep 1
      for p in $(pgrep -x rankcheck); do
        grep -qz ^SLURM_JOB_ID=$job /proc/$p/environ && grep -qzE '^(OMPI_COMM_WORLD|PMIX)_RANK=1' /proc/$p/environ && kill -9 $p
      done
      ended $job; tail -n 1 $O/$job
      """)
    #expect(result.lines.first == "FAILED 75:0", "\(result.text) \(result.stderr)")
    #expect(result.text.contains("launch: error: rank 1 (host node2, pid "), "\(result.text)")
    #expect(result.text.contains("ended by signal 9 (SIGKILL) after step "), "\(result.text)")
  }

  @Test("a killed launcher, mpirun or srun leaves nothing on any node", arguments: starters, ["launch", "starter"])
  func killedLauncher(starter: String, victim: String) throws {
    let result = try run(
      """
      job=$(submit -N 2 -n 2 -- "exec $B/launch --launcher \(starter) $C works 20")
      shows $job 'rank 0 works' && shows $job 'rank 1 works'
      sleep 1
      for p in $(pgrep -x \(victim == "launch" ? "launch" : starter)); do
        # Agents and the reaper are of the same program.
        [[ $(tr '\\0' ' ' </proc/$p/cmdline) =~ ^[^[:space:]]*[[:space:]]--(rank-agent|reap-after) ]] && continue
        grep -qz ^SLURM_JOB_ID=$job /proc/$p/environ && kill -9 $p
      done
      ended $job; cat $O/$job
      """)
    #expect(
      result.lines.first == (victim == "launch" ? "FAILED 0:9" : "FAILED 75:0"), "\(result.text) \(result.stderr)")
  }

  @Test("--signal=B:TERM and B:USR1 before the time limit let the ranks finish their step; without a signal: TIMEOUT")
  func timeLimit() throws {
    // Slurm looks every 30 s, and sends the signal up to as much early: all at once, and the limit is brought nearer once
    // the launchers have heard that their ranks look for a stop.
    let result = try run(
      """
      for signal in B:TERM B:USR1 none; do
        for starter in mpirun srun; do
          option=--signal=$signal@20; [[ $signal != none ]] || option=
          jobs+=($(submit -w node4 -n 2 -t 2 $option -- "exec $B/launch --launcher $starter $C works 50"))
        done
      done
      for job in ${jobs[@]}; do shows $job 'rank 0 works'; shows $job 'rank 1 works'; done
      sleep 3
      for job in ${jobs[@]:0:4}; do scontrol update JobId=$job EndTime=now+40; done
      for job in ${jobs[@]:4}; do scontrol update JobId=$job EndTime=now+5; done
      ended ${jobs[@]}
      for job in ${jobs[@]}; do grep -c '^stopped after' $O/$job; done
      """, within: 240)
    let ends = ["FAILED 143:0", "FAILED 143:0", "FAILED 138:0", "FAILED 138:0", "TIMEOUT 143:0", "TIMEOUT 143:0"]
    #expect(result.lines == ends + ["2", "2", "2", "2", "0", "0"], "\(result.text) \(result.stderr)")
  }
}
