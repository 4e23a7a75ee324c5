import CPU
import Collectives
import Glibc
import Kernels
import System

/// The start and the end of a program that runs as one rank of a job.
public enum Worker {
  /// Runs `body` as each rank, started by `launch`, mpirun, srun, as threads or alone, and ends the process with the
  /// job's exit status.
  ///
  /// Before that: refuses a CPU that lacks instructions which the kernels were built with, and starts the process anew
  /// where OpenBLAS would run at half speed.
  ///
  /// - Parameters:
  ///   - program: the name that stands in front of error messages.
  ///   - remedy: the program's own way out of a failure, in place of its hint; nil keeps that.
  public static func run(
    program: String, remedy: @escaping @Sendable (Failure) -> String? = { _ in nil },
    _ body: @escaping @Sendable (any Communicator, RankSettings) throws(Failure) -> Void
  ) -> Never {
    let report: @Sendable (Failure) -> Void = { failure in
      var failure = failure
      failure.hint = remedy(failure) ?? failure.hint
      // One write for the whole line, so that lines of several ranks do not mix.
      try? writeAll(Array("\(program): error: \(failure)\n".utf8), to: STDERR_FILENO, at: "standard error")
    }
    let environment = Environment.ofThisProcess()
    let settings: RankSettings
    do throws(Failure) {
      settings = try prepareProcess(environment)
    } catch {
      report(error)
      exit(error.status.rawValue)
    }
    let status = withCommunicator(environment: environment, report: report) { (communicator) throws(Failure) in
      try requireSameSetUp(communicator, settings)
      try body(communicator, settings)
    }
    exit(status.rawValue)
  }

  /// Ranks of another build, with other arguments, or with kernels that round otherwise would train on different numbers.
  private static func requireSameSetUp(
    _ communicator: any Communicator, _ settings: RankSettings
  ) throws(Failure) {
    guard communicator.size > 1 else { return }
    // On one host it is the same file.
    let isOnOneHost = communicator.localSize == communicator.size
    let everyone = try communicator.sum(isOnOneHost ? 1 : 0)
    let build = everyone == Double(communicator.size) ? "" : try digestOfProgram()
    try communicator.requireSame([
      ("the program's build", build),
      ("the program's arguments", CommandLine.arguments.dropFirst().joined(separator: " ")),
      ("OpenBLAS's kernels", BLAS.coreName), ("threads", "\(settings.threads)"),
    ])
  }

  private static func digestOfProgram() throws(Failure) -> String {
    String(FNV1a.hash(try readBytes("/proc/self/exe")), radix: 16)
  }

  /// What a process does before it computes: refuses a CPU that it was not built for, sets OpenBLAS's threads and kernels,
  /// which may start the process anew, and reads what the environment says. `run` does it by itself.
  @discardableResult
  public static func prepareProcess(_ environment: Environment) throws(Failure) -> RankSettings {
    keepStandardStreams()
    // A file that grows beyond `ulimit -f` is an error of the write, with a message.
    signal(SIGXFSZ, SIG_IGN)
    try checkCPU()
    let settings = try RankSettings(environment)
    try setUpBLAS(threads: settings.threads, environment)
    BLAS.setThreads(1)
    return settings
  }

  /// Opens what of standard input, output and error is closed, for reading only: or else the next file would be standard
  /// output, and get what the program prints. Writing to it stays an error.
  private static func keepStandardStreams() {
    for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(stream, F_GETFD) < 0 {
      // The lowest number that is free, which is this one.
      _ = open("/dev/null", O_RDONLY)
    }
  }

  private static func checkCPU() throws(Failure) {
    let missing = CPU.lacks(compiledCPUFeatures())
    guard missing.isEmpty else {
      throw Failure(
        .unavailable, "this program was built for a CPU with \(missing.joined(separator: ", ")), which this one lacks",
        hint: "build on this machine, or for all machines of a mixed cluster with LOCKSTEP_MARCH=x86-64-v3")
    }
  }

  /// Names the kernels that OpenBLAS must use, whatever it would choose.
  public static let coreVariable = "LOCKSTEP_BLAS_CORE"

  /// Tells OpenBLAS to make no threads, and which kernels to use where it would use slow ones or others than the user
  /// wants. It reads its variables when it is loaded, so the process starts anew: the same process with the same arguments.
  ///
  /// Its threads would have nothing to do, since a rank has threads of its own. Where memory is short, one of them asks
  /// for its buffer over and over, and the process never ends.
  private static func setUpBLAS(threads: Int, _ environment: Environment) throws(Failure) {
    let kernels = try kernelsToAskFor(environment)
    guard kernels != nil || environment["OPENBLAS_NUM_THREADS"] != "1" else { return }
    if let kernels { setenv("OPENBLAS_CORETYPE", kernels, 1) }
    // The rank's own threads stay as many as they were to be.
    setenv(RankSettings.threadsVariable, "\(threads)", 1)
    setenv("OPENBLAS_NUM_THREADS", "1", 1)
    // CommandLine.unsafeArgv is the process's own vector, ended by nil as execv wants it.
    execv("/proc/self/exe", CommandLine.unsafeArgv)
    // Without /proc the threads stay.
    guard let kernels else { return }
    throw Failure(.unavailable, "cannot start again with OPENBLAS_CORETYPE=\(kernels): \(lastSystemError())")
  }

  /// The kernels that OpenBLAS has to be told to use; nil where it has chosen well, or was told already.
  private static func kernelsToAskFor(_ environment: Environment) throws(Failure) -> String? {
    let asked = environment[coreVariable]
    guard let wanted = asked ?? betterCoreName(), wanted != BLAS.coreName else { return nil }
    guard environment["OPENBLAS_CORETYPE"] == wanted else { return wanted }
    // Started anew already, in vain.
    guard asked == nil else {
      throw Failure(
        .usage, at: coreVariable,
        "OpenBLAS has no kernels named \"\(wanted)\" for this CPU, it chose \(BLAS.coreName)")
    }
    return nil
  }

  /// The core type that OpenBLAS should be told to use where it now uses a worse one; nil where its choice is good.
  ///
  /// A library that is older than the CPU, or a variable that somebody set for another machine, leaves it with kernels
  /// without AVX-512, at half the speed.
  private static func betterCoreName() -> String? {
    let coresWithAVX512 = ["SkylakeX", "Cooperlake", "SapphireRapids", "Zen4", "Zen5"]
    let needed = ["avx512f", "avx512bw", "avx512dq", "avx512vl"]
    guard !coresWithAVX512.contains(BLAS.coreName), needed.allSatisfy(CPU.has) else { return nil }
    return "SkylakeX"
  }
}
