import Collectives
import Kernels

/// What this process computes with.
public enum Hardware {
  /// Says how many threads a rank has, before what OpenBLAS and OpenMP were told.
  public static let threadsVariable = "LOCKSTEP_NUM_THREADS"

  /// Threads of a rank: `LOCKSTEP_NUM_THREADS`, else `OPENBLAS_NUM_THREADS`, else `OMP_NUM_THREADS`, else 1.
  public static var threads: Int {
    let names = [threadsVariable, "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"]
    return names.lazy.compactMap { processVariable($0).flatMap(threadCount) }.first ?? 1
  }

  static func threadCount(_ text: String) -> Int? { Int(text).flatMap { (1...1024).contains($0) ? $0 : nil } }

  /// Library, version and the kernels that it chose: `OpenBLAS 0.3.21, SkylakeX kernels`.
  public static var blas: String { "\(BLAS.version), \(BLAS.coreName) kernels" }
}
