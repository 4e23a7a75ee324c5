import Collectives
import Kernels
import System

/// What the environment says to a program that runs as a rank: read once, where the program begins, and passed down.
public struct RankSettings: Sendable, Equatable {
  /// Threads of a rank: `LOCKSTEP_NUM_THREADS`, else `OPENBLAS_NUM_THREADS`, else `OMP_NUM_THREADS`, else 1.
  public var threads = 1
  /// Whether ranks of a host share weights and gradients where they can: not with `LOCKSTEP_SHARED_MEMORY=off`, to find
  /// out whether a fault lies there.
  public var sharesMemory = true
  /// Whether gradients travel between hosts while backward goes on: not with `LOCKSTEP_OVERLAP=off`.
  public var overlapsSums = true
  /// `LOCKSTEP_BUCKET_BYTES`: what a rank sums over hosts at once, on the wire; nil measures.
  public var bucketBytes: Int?
  /// Whether BLAS computes all fp32 products, to find out who is to blame for a number: `LOCKSTEP_PRODUCTS=blas`.
  public var leavesProductsToBLAS = false
  /// `LOCKSTEP_TERMINAL_COLUMNS`, what the launcher knows of the user's terminal: a rank's output is never one under
  /// mpirun.
  public var terminalColumns: Int?
  /// `LOCKSTEP_MIXED_PRECISION`, what the launcher was told, as it was said.
  public var mixedPrecision: String?
  /// `LOCKSTEP_RESTART`: whether the launcher has started this job again.
  public var isRestart = false
  /// `LOCKSTEP_RESTART_RANKS`: the ranks that such a job began with, whose rows of all together it keeps; nil otherwise.
  public var restartRanks: Int?
  /// The user's home folder, `HOME`; nil where nobody says.
  public var home: String?

  /// What is where the environment says nothing.
  public init() {}

  static let threadsVariable = "LOCKSTEP_NUM_THREADS"
  static let mixedPrecisionVariable = "LOCKSTEP_MIXED_PRECISION"

  /// - Throws: `.usage` for a value that means nothing.
  public init(_ environment: Environment) throws(Failure) {
    func number(_ name: String, _ range: ClosedRange<Int>, _ unit: String = "") throws(Failure) -> Int? {
      guard let text = environment[name] else { return nil }
      guard let value = Int(text), range.contains(value) else {
        throw Failure(
          .usage, at: name, "\"\(text)\", expected \(range.lowerBound) to \(range.upperBound)\(unit)")
      }
      return value
    }
    let mostThreads = 1...1024
    let others = ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"]
      .compactMap { environment[$0].flatMap { Int($0) } }.filter(mostThreads.contains)
    threads = try number(Self.threadsVariable, mostThreads) ?? others.first ?? 1
    sharesMemory = environment["LOCKSTEP_SHARED_MEMORY"] != "off"
    overlapsSums = environment["LOCKSTEP_OVERLAP"] != "off"
    bucketBytes = try number("LOCKSTEP_BUCKET_BYTES", 1024...1 << 30, " bytes")
    leavesProductsToBLAS = environment["LOCKSTEP_PRODUCTS"] == "blas"
    // What a terminal can say of its width.
    terminalColumns = try number("LOCKSTEP_TERMINAL_COLUMNS", 0...65_535)
    mixedPrecision = environment[Self.mixedPrecisionVariable]
    isRestart = environment["LOCKSTEP_RESTART"] != nil
    if isRestart { restartRanks = try number("LOCKSTEP_RESTART_RANKS", 1...65_536) }
    home = environment["HOME"]
  }

  /// What the launcher was told of the precision, as the caller's type.
  ///
  /// - Throws: `.usage` for a text that is none of its values.
  public func mixedPrecision<Precision>(
    as type: Precision.Type
  ) throws(Failure) -> Precision? where Precision: RawRepresentable<String> {
    guard let mixedPrecision else { return nil }
    if let value = type.init(rawValue: mixedPrecision) { return value }
    throw Failure(.usage, at: Self.mixedPrecisionVariable, "\"\(mixedPrecision)\", expected no or bf16")
  }

  /// What multiplies.
  ///
  /// - Parameters:
  ///   - precision: one that `isAvailable`.
  ///   - isForEvaluation: whether nothing but counts and a mean loss comes of its forward products.
  ///   - threads: that share out a product; nil makes this rank's.
  ///   - isRowIndependent: whether a row's bits may not depend on the rows beside it.
  public func gemm(
    _ precision: ProductPrecision, isForEvaluation: Bool = false, threads: ThreadPool? = nil,
    isRowIndependent: Bool = false
  ) -> GEMM {
    GEMM(
      precision, isForEvaluation: isForEvaluation, threads: threads ?? ThreadPool(count: self.threads),
      leavesToBLAS: leavesProductsToBLAS, isRowIndependent: isRowIndependent)
  }
}
