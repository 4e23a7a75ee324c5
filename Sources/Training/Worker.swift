import CPU
import Collectives
import FileSystem
import Glibc
import Kernels

/// The start and the end of a program that runs as one rank of a job.
public enum Worker {
  /// Runs `body` as each rank, started by `launch`, mpirun, srun, as threads or alone, and ends the process with the
  /// job's exit status.
  ///
  /// Before that: refuses a CPU that lacks instructions which the kernels were built with, and starts the process anew
  /// where OpenBLAS would run at half speed.
  ///
  /// - Parameter program: the name that stands in front of error messages.
  public static func run(
    program: String, _ body: @escaping @Sendable (any Communicator) throws(Failure) -> Void
  ) -> Never {
    let report = { @Sendable (failure: Failure) in
      // One write for the whole line, so that lines of several ranks do not mix.
      let line = Array("\(program): error: \(failure)\n".utf8)
      _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
    do throws(Failure) {
      try prepareProcess()
    } catch {
      report(error)
      exit(error.status.rawValue)
    }
    let status = withCommunicator(report: report) { (communicator) throws(Failure) in
      try requireSameSetUp(communicator)
      try body(communicator)
    }
    exit(status.rawValue)
  }

  /// Ranks of another build, with other arguments, or with kernels that round otherwise would train on different numbers.
  private static func requireSameSetUp(_ communicator: any Communicator) throws(Failure) {
    guard communicator.size > 1 else { return }
    // On one host it is the same file.
    let isOnOneHost = communicator.localSize == communicator.size
    let everyone = try communicator.sum(isOnOneHost ? 1 : 0)
    let build = everyone == Double(communicator.size) ? "" : try digestOfProgram()
    try communicator.requireSame([
      ("the program's build", build),
      ("the program's arguments", CommandLine.arguments.dropFirst().joined(separator: " ")),
      ("OpenBLAS's kernels", BLAS.coreName), ("threads", "\(Hardware.threads)"),
    ])
  }

  private static func digestOfProgram() throws(Failure) -> String {
    var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in try readBytes("/proc/self/exe") { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return String(digest, radix: 16)
  }

  /// What a process does before it computes: refuses a CPU that it was not built for, chooses OpenBLAS's kernels, which
  /// may start the process anew, and sets the threads. `run` does it by itself.
  public static func prepareProcess() throws(Failure) {
    try checkCPU()
    try chooseBLASKernels()
    try setThreads()
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

  /// Tells OpenBLAS which kernels to use where it would use slow ones, or others than the user wants. It reads its
  /// variable when it is loaded, so the process starts anew: the same process with the same arguments.
  private static func chooseBLASKernels() throws(Failure) {
    let asked = processVariable(coreVariable)
    guard let wanted = asked ?? betterCoreName(), wanted != BLAS.coreName else { return }
    if processVariable("OPENBLAS_CORETYPE") == wanted {
      // Started anew already, in vain.
      guard asked == nil else {
        throw Failure(
          .usage, at: coreVariable,
          "OpenBLAS has no kernels named \"\(wanted)\" for this CPU, it chose \(BLAS.coreName)")
      }
      return
    }
    setenv("OPENBLAS_CORETYPE", wanted, 1)
    // CommandLine.unsafeArgv is the process's own vector, ended by nil as execv wants it.
    execv("/proc/self/exe", CommandLine.unsafeArgv)
    throw Failure(.unavailable, "cannot start again with OPENBLAS_CORETYPE=\(wanted): \(lastSystemError())")
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

  /// A rank has threads of its own, which call BLAS for their part of a product each.
  private static func setThreads() throws(Failure) {
    if let text = processVariable(Hardware.threadsVariable), Hardware.threadCount(text) == nil {
      throw Failure(.usage, at: Hardware.threadsVariable, "\"\(text)\", expected 1 to 1024")
    }
    BLAS.setThreads(1)
  }
}
