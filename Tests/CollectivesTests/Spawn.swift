import FileSystem
import Glibc

/// What a finished process left.
struct Outcome {
  /// The exit status, or 128 + the signal.
  var status: Int32
  /// Standard output and error together.
  var output: String

  var lines: [String] { output.split(separator: "\n").map(String.init) }
}

/// Runs `arguments` (the first found by PATH) to the end, with `variables` added to a small environment.
///
/// `posix_spawn`, with no signal blocked or ignored: mpirun must hear SIGTERM, which it gets after `seconds`.
func spawn(_ arguments: [String], variables: [String: String] = [:], seconds: Int = 120) throws -> Outcome {
  let kept = ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"]
  var environment = kept.compactMap { name in getenv(name).map { "\(name)=\(String(cString: $0))" } }
  environment += variables.map { "\($0.key)=\($0.value)" }

  var template = Array("/tmp/rankcheck.XXXXXX\0".utf8CString)
  let file = mkstemp(&template)
  guard file >= 0 else { throw Failure(.ioError, "mkstemp: \(lastSystemError())") }
  unlink(template)
  defer { close(file) }

  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
  posix_spawn_file_actions_adddup2(&actions, file, 1)
  posix_spawn_file_actions_adddup2(&actions, file, 2)
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
  let error = posix_spawnp(&process, arguments[0], &actions, &attributes, &argv, &envp)
  guard error == 0 else { throw Failure(.unavailable, "\(arguments[0]): \(String(cString: strerror(error)))") }

  var state: Int32 = 0
  var waits = 0
  while waitpid(process, &state, WNOHANG) == 0 {
    usleep(10_000)
    waits += 1
    if waits == seconds * 100 { kill(process, SIGTERM) }
    if waits == (seconds + 10) * 100 { kill(process, SIGKILL) }
  }
  let signal = state & 0x7f
  let size = Int(lseek(file, 0, SEEK_END))
  var bytes = [UInt8](repeating: 0, count: size)
  let count = pread(file, &bytes, size, 0)
  return Outcome(
    status: signal == 0 ? state >> 8 & 0xff : 128 + signal,
    output: String(decoding: bytes.prefix(max(0, count)), as: UTF8.self))
}

/// The program `rankcheck`, which is built beside the tests.
func rankcheck() throws -> String {
  var bytes = [CChar](repeating: 0, count: 4096)
  let count = readlink("/proc/self/exe", &bytes, bytes.count - 1)
  let own = String(decoding: bytes.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  let path = parent(of: own) + "/rankcheck"
  guard exists(path) else { throw Failure(.missingInput, at: path, "is not built") }
  return path
}

/// Runs `rankcheck` as `ranks` processes under mpirun.
func mpirun(ranks: Int, _ arguments: String...) throws -> Outcome {
  var command = ["mpirun", "-np", "\(ranks)", "--oversubscribe", "--bind-to", "none"]
  command += ["--mca", "mpi_yield_when_idle", "1"]
  if geteuid() == 0 { command.append("--allow-run-as-root") }
  return try spawn(command + [rankcheck()] + arguments)
}
