import COpenBLAS

/// A row-major matrix in memory that somebody else owns, as it enters a product.
public struct MatrixOperand {
  let elements: UnsafePointer<Float>
  let rowStride: Int
  let isTransposed: Bool

  /// - Parameters:
  ///   - elements: element (i, j) lies at `i * rowStride + j`.
  ///   - rowStride: distance between rows, in elements.
  public init(_ elements: UnsafePointer<Float>, rowStride: Int) {
    self.elements = elements
    self.rowStride = rowStride
    isTransposed = false
  }

  private init(transposing other: MatrixOperand) {
    elements = other.elements
    rowStride = other.rowStride
    isTransposed = !other.isTransposed
  }

  /// The matrix without the rows before `row`.
  func fromRow(_ row: Int) -> MatrixOperand {
    MatrixOperand(elements + (isTransposed ? row : row * rowStride), like: self)
  }

  /// The matrix without the columns before `column`.
  func fromColumn(_ column: Int) -> MatrixOperand {
    MatrixOperand(elements + (isTransposed ? column * rowStride : column), like: self)
  }

  private init(_ elements: UnsafePointer<Float>, like other: MatrixOperand) {
    self.elements = elements
    rowStride = other.rowStride
    isTransposed = other.isTransposed
  }

  /// The same memory read as its transpose.
  public var transposed: MatrixOperand { MatrixOperand(transposing: self) }
}

/// What a kernel does with what its output held before.
public enum OutputMode: Sendable {
  case overwrite, add
}

/// C = scale · A · B, or C += scale · A · B; the one door to BLAS.
///
/// - Parameters:
///   - rows: rows of A and C.
///   - columns: columns of B and C.
///   - depth: columns of A and rows of B.
///   - output: C, `[rows, columns]` with `outputStride` elements between rows.
@inline(__always)
public func matrixProduct(
  rows: Int, columns: Int, depth: Int, _ a: MatrixOperand, _ b: MatrixOperand, scale: Float = 1,
  into output: UnsafeMutablePointer<Float>, outputStride: Int, _ mode: OutputMode = .overwrite
) {
  guard rows > 0 && columns > 0 else { return }
  cblas_sgemm(
    CblasRowMajor, a.isTransposed ? CblasTrans : CblasNoTrans, b.isTransposed ? CblasTrans : CblasNoTrans,
    Int32(rows), Int32(columns), Int32(depth), scale, a.elements, Int32(a.rowStride), b.elements, Int32(b.rowStride),
    mode == .add ? 1 : 0, output, Int32(outputStride))
}

/// OpenBLAS as it is loaded in this process.
public enum BLAS {
  /// The kernels that OpenBLAS chose for this CPU, such as `Haswell` or `SkylakeX`.
  public static var coreName: String { String(cString: openblas_get_corename()) }

  /// Version and build options, as OpenBLAS tells them.
  public static var version: String {
    let words = String(cString: openblas_get_config()).split(separator: " ")
    return words.prefix(2).joined(separator: " ")
  }

  /// Threads that a product uses.

  /// Sets the number of threads that a product uses.
  public static func setThreads(_ count: Int) { openblas_set_num_threads(Int32(count)) }
}
