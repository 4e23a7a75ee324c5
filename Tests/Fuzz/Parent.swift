import Glibc
import System
import TestSupport

/// Runs readers in processes of their own, as many at a time as there are cores, and reports how each came out.
struct Parent {
  var seed: UInt64
  var count: Int
  /// Whether the real programs read the inputs.
  var isPrograms: Bool
  private let folder: TemporaryFolder

  /// Of one reader no more are looked for.
  private static let mostFindings = 5

  init(seed: UInt64, count: Int, isPrograms: Bool) throws {
    self.seed = seed
    self.count = count
    self.isPrograms = isPrograms
    folder = try TemporaryFolder(in: "/dev/shm")
  }

  /// Whether all readers came through.
  func run(_ readers: [Reader]) throws -> Bool {
    var waiting = readers[...]
    var running: [pid_t: Job] = [:]
    var findings = 0
    let cores = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    while !waiting.isEmpty || !running.isEmpty {
      while running.count < cores, let reader = waiting.popFirst() {
        let job = try Job(reader: reader, folder: "\(folder.path)/\(reader.name)")
        running[try start(job, from: 0)] = job
      }
      var state: Int32 = 0
      let process = waitpid(-1, &state, 0)
      guard process > 0, var job = running.removeValue(forKey: process) else { continue }
      let next = job.progress.counts.number + 1
      if state == 0 {
        say(job.summary)
      } else {
        findings += 1
        job.findings += 1
        try report(job, state)
        if next < count && job.findings < Self.mostFindings { running[try start(job, from: next)] = job }
      }
    }
    say("\(readers.count) readers, \(count) inputs each, seed \(seed): \(findings) findings")
    return findings == 0
  }

  private struct Job {
    var reader: Reader
    var folder: String
    var progress: Progress
    var findings = 0
    var begin = ContinuousClock.now

    init(reader: Reader, folder: String) throws {
      self.reader = reader
      self.folder = folder
      try makeDirectory(folder)
      progress = try Progress("\(folder)/progress")
    }

    var summary: String {
      let counts = progress.counts
      return "\(reader.name): \(counts.accepted) accepted, \(counts.refused) refused, "
        + "\(formatted((ContinuousClock.now - begin) / .seconds(1), digits: 1)) s, slowest \(formatted(counts.slowestSeconds, digits: 3)) s "
        + "(input \(counts.slowestNumber)), memory at most \(formatted(counts.largestMultiple, digits: 1)) times a large input"
    }
  }

  private func start(_ job: Job, from first: Int) throws -> pid_t {
    let arguments = [
      "fuzz", "--child", job.folder, "--seed", "\(seed)", "--first", "\(first)", "--count", "\(count)",
      isPrograms ? "--programs" : "--readers", job.reader.name,
    ]
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { for text in argv { free(text) } }
    setenv("SWIFT_BACKTRACE", "enable=no", 1)
    var process = pid_t()
    let error = posix_spawn(&process, "/proc/self/exe", nil, nil, &argv, environ)
    guard error == 0 else {
      throw Failure(.unavailable, "a process cannot be started: \(String(cString: strerror(error)))")
    }
    return process
  }

  /// Says how a child ended, and keeps the input.
  private func report(_ job: Job, _ state: Int32) throws {
    let number = job.progress.counts.number
    let signal = state & 0x7f
    let how: String =
      switch signal {
      case 0: "a wrong result, above"
      case SIGPROF: "it computes without an end"
      case SIGALRM: "it waits without an end"
      default: "signal \(signal)"
      }
    var reader = job.reader
    if isPrograms, let program = reader.program { reader.samples = program.samples(of: reader) }
    let path = "/tmp/lockstep-fuzz-\(reader.name)-\(seed)-\(number)"
    try overwrite(path, reader.input(isPrograms ? 10 * number + 9 : number, seed: seed))
    let mode = isPrograms ? " --programs" : ""
    say(
      "FOUND \(reader.name): input \(number) of seed \(seed): \(how); it is in \(path); "
        + "again: fuzz\(mode) \(reader.name) --seed \(seed) --only \(number)")
  }
}
