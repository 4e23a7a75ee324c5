import Glibc
import Launcher
import System
import TestSupport

/// A real Slurm on four hosts, as Tests/Cluster/with-slurm makes it, for all tests of a process; it ends with the process.
final class SlurmCluster: Sendable {
  /// Where `unpack_slurm` of tools/set-up has put Slurm.
  static let unpacked = getenv("LOCKSTEP_SLURM").map { String(cString: $0) } ?? "\(packageFolder)/.build/slurm"
  static let shared = Result { try SlurmCluster() }

  /// Where scripts, their output and that of jobs are.
  let folder: String
  private let process: ChildProcess
  /// The cluster reads the names of scripts here, and ends at its end.
  private let scripts: Int32

  /// Runs each script whose name it reads, and notes how it ended.
  private static let server = """
    while IFS= read -r script; do
      {
        bash "$script" >"$script.stdout" 2>"$script.stderr" </dev/null
        echo $? >"$script.new"
        mv "$script.new" "$script.status"
      } &
    done
    """

  private init() throws {
    folder = try temporaryFolder()
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw Failure(.unavailable, "pipe failed: \(lastSystemError())") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    scripts = ends[1]
    let log = open("\(folder)/log", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    defer { for descriptor in [ends[0], log] { close(descriptor) } }
    process = try ChildProcess(
      path: ClusterTests.tool,
      arguments: [
        ClusterTests.tool, "4", "\(packageFolder)/Tests/Cluster/with-slurm", Self.unpacked, "bash", "-c", Self.server,
      ]
      .map { Array($0.utf8) },
      environment: .ofThisProcess(), descriptors: [(ends[0], 0), (log, 1), (log, 2)])
    atexit { SlurmCluster.remove() }
  }

  /// Ends the cluster, and removes what it wrote.
  private static func remove() {
    guard case .success(let cluster) = shared else { return }
    close(cluster.scripts)
    for _ in 0..<100 where cluster.process.end() == nil { usleep(50_000) }
    for name in names(in: cluster.folder) { unlink("\(cluster.folder)/\(name)") }
    rmdir(cluster.folder)
  }

  /// What every script begins with: `submit OPTION… -- COMMAND…` starts a batch job, whose output goes to `$O/ID`, and prints its id;
  /// `shows ID TEXT` waits until its output has the text; `ended ID…` waits for the end of jobs and prints the state of each, and then what
  /// is left of them: nothing, if all is well.
  private static let prelude = """
    submit() {
      local options=()
      while [[ $1 != -- ]]; do options+=("$1"); shift; done
      shift
      { echo '#!/bin/bash'; echo "$*"; } >$O/batch.$BASHPID
      sbatch --parsable --output=$O/%j --open-mode=append "${options[@]}" $O/batch.$BASHPID
    }
    shows() {
      for ((i = 0; i < 600; i++)); do
        grep -qe "$2" $O/$1 2>/dev/null && return
        sleep 0.1
      done
      echo "job $1 does not show $2: $(cat $O/$1)" >&2
      return 1
    }
    state() { scontrol --oneliner show job $1 | grep -oP '(?<=JobState=)[A-Z_]+'; }
    becomes() {
      for ((i = 0; i < 900; i++)); do
        [[ $(state $1) == $2 ]] && return
        sleep 0.1
      done
      echo "job $1 is $(state $1), expected $2" >&2
      return 1
    }
    processes() { grep -lzE "^SLURM_JOB_?ID=$1\\$" /proc/[0-9]*/environ 2>/dev/null; }
    # mpirun's folder for all jobs of a user may stay behind, empty.
    things() {
      find $CLUSTER_FOLDER/slurm/node[123]/tmp $(pgrep -x slurmd | sed 's,.*,/proc/&/root/dev/shm,') -mindepth 1 \\
        \\( -name 'vader*' -o -name 'osc*' -o -name 'pmix*' -o -name 'lockstep*' -o -path '*/ompi.*/*' \\) 2>/dev/null
    }
    left() { for job in "$@"; do processes $job; done; things; }
    ended() {
      local job i
      for job in "$@"; do
        for ((i = 0; i < 1200; i++)); do
          [[ $(state $job) =~ ^(COMPLETED|CANCELLED|FAILED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY)$ ]] && break
          sleep 0.1
        done
      done
      for ((i = 0; i < 100; i++)); do
        [[ -z $(left "$@") ]] && break
        sleep 0.1
      done
      for job in "$@"; do
        echo "$(state $job) $(scontrol --oneliner show job $job | grep -oP '(?<= ExitCode=)[0-9:]+')"
      done
      left "$@" | sed 's/^/left: /'
    }
    """

  /// Runs `script` on node1, outside of any allocation.
  func run(_ script: String, within seconds: Double = 120) throws -> RunResult {
    let start = ContinuousClock.now
    let name = try writeScript(script)
    while !exists("\(name).status") {
      guard process.end() == nil else {
        throw Failure(.unavailable, "the cluster has ended: \(systemText("\(folder)/log") ?? "")")
      }
      guard ContinuousClock.now - start < .seconds(seconds) else {
        throw Failure(.lost, "a script takes more than \(seconds) s: \(script)\n\(systemText("\(name).stderr") ?? "")")
      }
      usleep(20_000)
    }
    let status = systemText("\(name).status").flatMap { Int32($0) } ?? -1
    return RunResult(
      status: status, stdout: systemFile("\(name).stdout") ?? [], stderr: systemText("\(name).stderr") ?? "",
      seconds: (ContinuousClock.now - start) / .seconds(1))
  }

  private func writeScript(_ script: String) throws -> String {
    let header = "B=\(binaries); C=$B/rankcheck; O=\(folder); cd \(packageFolder)"
    let name = "\(folder)/script-\(UInt32.random(in: .min ... .max))"
    try writeAtomically(Array("\(header)\n\(Self.prelude)\n\(script)\n".utf8), to: name)
    let line = Array("\(name)\n".utf8)
    guard write(scripts, line, line.count) == line.count else {
      throw Failure(.unavailable, "the cluster has ended: \(systemText("\(folder)/log") ?? "")")
    }
    return name
  }

  /// What the job `id` wrote.
  func output(_ id: String) -> String { String(decoding: systemFile("\(folder)/\(id)") ?? [], as: UTF8.self) }
}
