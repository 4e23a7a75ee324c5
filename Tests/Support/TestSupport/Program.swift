import Glibc
import System

/// A program that the tests started, with all its descendants, which inherit a mark in their environment.
package final class Program {
  package let process: pid_t
  private let output: Int32
  private let errors: Int32
  private let mark: String
  private let begin = ContinuousClock().now
  private var outcome: Outcome?

  /// What a finished process left.
  package struct Outcome: Sendable {
    /// The exit status, or 128 + the signal.
    package var status: Int32
    package var output: String
    package var errors: String
    package var seconds: Double
    /// Processes that were still there half a second after the end.
    package var left: [pid_t]

    package var outputLines: [String] { output.split(separator: "\n").map(String.init) }
    package var errorLines: [String] { errors.split(separator: "\n").map(String.init) }
  }

  /// Starts `arguments` (the first found by PATH) with `variables` added to a small environment.
  ///
  /// `posix_spawn`, with no signal blocked or ignored, as a shell would start it.
  package init(_ arguments: [String], variables: [String: String] = [:]) throws {
    mark = "LOCKSTEP_TEST_MARK=\(getpid())-\(UInt64.random(in: 0 ... .max))"
    let kept = ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"]
    var environment = kept.filter { variables[$0] == nil }
      .compactMap { name in Golden.variable(name).map { "\(name)=\($0)" } }
    // Where there is no /sys, mpirun and the ranks would say so.
    environment += variables.map { "\($0.key)=\($0.value)" } + [mark, "HWLOC_HIDE_ERRORS=2"]
    output = try Self.unnamedFile()
    errors = try Self.unnamedFile()

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
    defer { for text in argv + envp { free(text) } }
    var process = pid_t()
    let name = arguments.first ?? ""
    let error = posix_spawnp(&process, name, &actions, &attributes, &argv, &envp)
    guard error == 0 else { throw Failure(.unavailable, "\(name): \(String(cString: strerror(error)))") }
    self.process = process
  }

  deinit {
    if outcome == nil { _ = wait(seconds: 0) }
    close(output)
    close(errors)
  }

  /// Waits for the end; after `seconds` with SIGTERM, and ten later with SIGKILL for all of it.
  ///
  /// - Parameter remainsSeconds: how long what it has started may outlive it.
  package func wait(seconds: Double, remainsSeconds: Double = 0.5) -> Outcome {
    if let outcome { return outcome }
    var state: Int32 = 0
    var isAsked = false
    while waitpid(process, &state, WNOHANG) == 0 {
      usleep(5000)
      if !isAsked && self.seconds > seconds {
        kill(process, SIGTERM)
        isAsked = true
      }
      if self.seconds > seconds + 10 { for process in marked { kill(process.id, SIGKILL) } }
    }
    let seconds = self.seconds
    let signal = state & 0x7f
    var left = marked.map(\.id)
    for _ in 0..<Int(remainsSeconds * 100) where !left.isEmpty {
      usleep(10_000)
      left = marked.map(\.id)
    }
    for process in left { kill(process, SIGKILL) }
    let result = Outcome(
      status: signal == 0 ? state >> 8 & 0xff : 128 + signal, output: Self.text(of: output),
      errors: Self.text(of: errors), seconds: seconds, left: left)
    outcome = result
    return result
  }

  /// Whether it has ended by itself, or by a signal; its outcome is still to be waited for.
  package var hasEnded: Bool {
    var info = siginfo_t()
    return outcome != nil || waitid(P_PID, id_t(process), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_signo != 0
  }

  /// Seconds since the start.
  package var seconds: Double {
    let duration = (ContinuousClock().now - begin).components
    return Double(duration.seconds) + Double(duration.attoseconds) * 1e-18
  }

  /// The program's living processes, each with its rank under mpirun.
  package var marked: [(id: pid_t, rank: Int?)] {
    TemporaryFolder.entries("/proc").compactMap { name in
      guard let id = pid_t(name) else { return nil }
      let variables = Self.contents("/proc/\(name)/environ").split(separator: 0).map {
        String(decoding: $0, as: UTF8.self)
      }
      guard variables.contains(mark) else { return nil }
      let rank = variables.first { $0.hasPrefix("OMPI_COMM_WORLD_RANK=") }.flatMap { Int($0.dropFirst(21)) }
      return (id, rank)
    }
  }

  /// What it has written to standard output so far.
  package var outputSoFar: String { Self.text(of: output) }

  private static func unnamedFile() throws -> Int32 {
    var template = Array("/tmp/lockstep-output.XXXXXX\0".utf8CString)
    let file = mkstemp(&template)
    guard file >= 0 else { throw Failure(.ioError, "mkstemp: \(lastSystemError())") }
    unlink(template)
    _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    return file
  }

  private static func text(of file: Int32) -> String {
    var info = stat()
    fstat(file, &info)
    var bytes = [UInt8](repeating: 0, count: Int(info.st_size))
    let count = pread(file, &bytes, bytes.count, 0)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }

  /// A file of /proc, which has no size to go by.
  package static func contents(_ path: String) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return [] }
    defer { close(file) }
    var result: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = read(file, &block, block.count), count > 0 { result += block[..<count] }
    return result
  }
}

extension Program {
  /// Runs to the end.
  package static func run(
    _ arguments: [String], variables: [String: String] = [:], seconds: Double = 60
  ) throws -> Outcome {
    try Program(arguments, variables: variables).wait(seconds: seconds)
  }

  /// The product `name`: in the folder LOCKSTEP_BIN, or built beside the tests.
  package static func built(_ name: String) throws -> String {
    let path = "\(Golden.variable("LOCKSTEP_BIN") ?? parent(of: realPath("/proc/self/exe")))/\(name)"
    guard exists(path) else { throw Failure(.missingInput, at: path, "is not built") }
    return path
  }

  /// The arguments that start the product `name` on so many ranks under mpirun, or alone without it.
  package static func command(_ name: String, ranks: Int, _ arguments: [String]) throws -> [String] {
    let program = [try built(name)] + arguments
    return ranks > 1 ? mpirun(ranks: ranks) + program : program
  }

  /// The words that start a program on so many ranks.
  package static func mpirun(ranks: Int) -> [String] {
    var launcher = ["mpirun", "-np", "\(ranks)", "--oversubscribe", "--bind-to", "none"]
    launcher += ["--mca", "mpi_yield_when_idle", "1"]
    if geteuid() == 0 { launcher.append("--allow-run-as-root") }
    return launcher
  }
}
