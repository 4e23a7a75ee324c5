import Glibc
import Launcher
import System
import Testing

/// What a program wrote and how it ended; a signal counts as 128 + its number, as in a shell.
struct RunResult {
  var status: Int32
  var stdout: [UInt8]
  var stderr: String
  var seconds: Double
  /// Of a launcher: processes of its job and things of Open MPI's that were still there some seconds after its end.
  var left: [String] = []
  var text: String { String(decoding: stdout, as: UTF8.self) }
  var lines: [String] { text.split(separator: "\n").map(String.init) }
}

/// The folder of the release binaries: `LOCKSTEP_BIN`, else that of the test bundle.
let binaries: String = {
  if let folder = getenv("LOCKSTEP_BIN") { return String(cString: folder) }
  var buffer = [CChar](repeating: 0, count: 4097)
  let count = max(0, readlink("/proc/self/exe", &buffer, 4096))
  return parent(of: String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self))
}()

/// A program that is running, with its output going to files.
struct Running {
  let child: ChildProcess
  let folder: String
  let start = ContinuousClock.now
  private let isLauncher: Bool
  private let ward: Ward

  /// Ends a program whose test gives up before it has ended. Of a launcher that is killed, agents end the ranks.
  private final class Ward {
    private let pid: pid_t
    var hasEnded = false

    init(_ pid: pid_t) { self.pid = pid }

    deinit {
      guard !hasEnded else { return }
      kill(pid, SIGKILL)
      waitpid(pid, nil, 0)
    }
  }

  init(_ path: String, _ arguments: [[UInt8]], environment changes: [String: String?] = [:]) throws {
    let folder = try temporaryFolder()
    self.folder = folder
    isLauncher = path.hasSuffix("/launch")
    var environment = Environment.ofThisProcess()
    for (name, value) in changes { environment[name] = value }
    let outputs = ["stdout", "stderr"].map { open("\(folder)/\($0)", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600) }
    defer { for output in outputs { close(output) } }
    child = try ChildProcess(
      path: path, arguments: [Array(path.utf8)] + arguments, environment: environment,
      descriptors: [(outputs[0], 1), (outputs[1], 2)])
    ward = Ward(child.pid)
  }

  /// What was written so far.
  func output(_ name: String = "stdout") -> String {
    String(decoding: systemFile("\(folder)/\(name)") ?? [], as: UTF8.self)
  }

  /// How it has ended; nil before. Told once.
  func end() -> ChildProcess.End? {
    let end = child.end()
    if end != nil { ward.hasEnded = true }
    return end
  }

  /// Waits until `condition` holds; false if it does not within `seconds`.
  func wait(seconds: Double = 30, until condition: () -> Bool) -> Bool {
    let deadline = ContinuousClock.now + .milliseconds(Int(seconds * 1000))
    while ContinuousClock.now < deadline {
      if condition() { return true }
      usleep(10_000)
    }
    return condition()
  }

  /// Waits for the end; a program that takes more than `seconds` is killed.
  func finish(within seconds: Double = 90) -> RunResult {
    var end: ChildProcess.End?
    var names: JobNames?
    var lookedAt = start
    let hasEnded = wait(seconds: seconds) {
      if isLauncher, names == nil, .now - lookedAt > .milliseconds(100) {
        names = jobNames
        lookedAt = .now
      }
      end = self.end()
      return end != nil
    }
    if !hasEnded {
      kill(child.pid, SIGKILL)
      while end == nil { end = self.end() }
    }
    let status: Int32 =
      switch end! {
      case .status(let status): status
      case .signal(let signal): 128 + signal
      }
    var result = RunResult(
      status: status, stdout: systemFile("\(folder)/stdout") ?? [], stderr: output("stderr"),
      seconds: (ContinuousClock.now - start) / .seconds(1))
    if isLauncher {
      _ = wait(seconds: 8) {
        result.left = job.all.map { "process \($0)" } + (names.map(remains) ?? [])
        return result.left.isEmpty
      }
    }
    for name in System.names(in: folder) { unlink("\(folder)/\(name)") }
    rmdir(folder)
    return result
  }
}

/// Runs a program to its end.
func run(_ path: String, _ arguments: [String], environment: [String: String?] = [:]) throws -> RunResult {
  try Running(path, arguments.map { Array($0.utf8) }, environment: environment).finish()
}

/// Runs the launcher to its end.
func launch(_ arguments: String..., environment: [String: String?] = [:]) throws -> RunResult {
  try run("\(binaries)/launch", arguments, environment: environment)
}

/// A fresh folder, for the caller to remove.
func temporaryFolder() throws -> String {
  var template = Array("/tmp/lockstep-test-XXXXXX".utf8CString)
  guard mkdtemp(&template) != nil else { throw Failure(.cannotCreate, "mkdtemp: \(lastSystemError())") }
  return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// The name of this machine.
let hostName = systemText("/proc/sys/kernel/hostname") ?? "?"

/// The folder of Package.swift.
let packageFolder = parent(of: parent(of: parent(of: #filePath)))

extension RunResult {
  /// The last line of stderr, which is the launcher's error.
  var error: String { stderr.split(separator: "\n").last.map(String.init) ?? "" }

  /// What must hold after every fault: the status, a last line that names the rank and says what happened, and that
  /// nothing of the job is left.
  func expect(
    _ status: Int32, rank: Int? = nil, says: String, at location: SourceLocation = #_sourceLocation
  ) {
    let start = "launch: error: " + (rank.map { "rank \($0) (host \(hostName), pid " } ?? "")
    #expect(self.status == status, "\(stderr)", sourceLocation: location)
    #expect(error.hasPrefix(start) && error.contains(says), "\(stderr)", sourceLocation: location)
    #expect(left == [], sourceLocation: location)
  }
}

extension Running {
  /// The live processes of the job that this launcher runs, by their environment: the agents, and by rank the programs.
  var job: (all: [pid_t], programs: [Int: pid_t]) {
    let mark = "LOCKSTEP_RUN_ID="
    var all: [pid_t] = []
    var programs: [Int: pid_t] = [:]
    for pid in names(in: "/proc").compactMap({ pid_t($0) }) where pid != getpid() {
      guard let bytes = systemFile("/proc/\(pid)/environ"), let command = systemFile("/proc/\(pid)/cmdline"),
        !command.isEmpty
      else { continue }
      let entries = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      guard let id = entries.first(where: { $0.hasPrefix(mark) }), id.hasSuffix("-\(child.pid)") else { continue }
      all.append(pid)
      let isAgent = command.split(separator: 0).contains { $0.elementsEqual("--rank-agent".utf8) }
      let rank = entries.first { $0.hasPrefix("OMPI_COMM_WORLD_RANK=") }.flatMap { Int($0.dropFirst(21)) }
      if let rank, !isAgent { programs[rank] = pid }
    }
    return (all, programs)
  }

  /// Paths of Open MPI's shared memory and session folder of this job that are there; while ranks run, their names can be
  /// learned.
  func remains(_ names: JobNames) -> [String] {
    let segments = System.names(in: "/dev/shm").filter {
      $0.hasPrefix("vader_segment.") && $0.contains(".\(names.job).")
    }
    return segments + (exists(names.session) ? [names.session] : [])
  }

  /// The names under which Open MPI keeps things of this job.
  struct JobNames {
    /// In hexadecimal.
    var job: String
    var session: String
  }

  var jobNames: JobNames? {
    guard let pid = job.programs.values.first, let bytes = systemFile("/proc/\(pid)/environ") else { return nil }
    let entries = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    func value(_ name: String) -> String? {
      entries.first { $0.hasPrefix("\(name)=") }.map { String($0.dropFirst(name.count + 1)) }
    }
    guard let job = value("OMPI_MCA_ess_base_jobid").flatMap({ UInt32($0) }),
      let session = value("OMPI_MCA_orte_jobfam_session_dir")
    else { return nil }
    return JobNames(job: String(job, radix: 16), session: session)
  }
}
