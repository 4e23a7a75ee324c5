import Glibc

/// How exact the products of a model's large matrices are, where the CPU has a faster way than fp32's own.
public enum ProductPrecision: String, Sendable, CaseIterable {
  /// As fp32 everywhere.
  case highest
  /// As fp32 in training's forward; gradients, and evaluation, from 16 of the 24 bits of each factor, added up in fp32:
  /// within 4e-5 of a tensor's largest gradient on bert-base, and 2e-5 of the largest logit.
  case high
  /// Factors rounded to bf16 (8 bits), added up in fp32: mixed precision.
  case bf16

  /// Whether this machine can compute so.
  public var isAvailable: Bool { self != .bf16 || TileMultiplier.Unit.ofThisCPU != nil }
}

/// Multiplies the matrices of a model's linear layers: by the CPU's bf16 units where they are the faster way to
/// `precision`, else by BLAS. The threads share out each product; the sums are the same for any number of them.
public final class Multiplier {
  /// What a product is for. Gradients of weights are read after the whole backward only.
  public enum Purpose: Sendable { case forward, inputGradient, weightGradient }

  /// Whether a product has many lines or a few, of which most of its time in tiles would be packing.
  public enum Lines: Sendable { case many, few }

  public let precision: ProductPrecision
  public let threads: ThreadPool
  /// One for each thread; none where BLAS is faster.
  private let tiles: [TileMultiplier]
  private let parts: (forward: Int, backward: Int)

  /// `LOCKSTEP_PRODUCTS=blas` leaves all fp32 products to BLAS, to find out who is to blame for a number.
  public static let variable = "LOCKSTEP_PRODUCTS"

  public static var isToldToUseBLAS: Bool { getenv(variable).map { String(cString: $0) } == "blas" }

  /// - Parameters:
  ///   - precision: one that `isAvailable`.
  ///   - isForEvaluation: whether nothing but counts and a mean loss comes of its forward products.
  ///   - threads: BLAS must use one thread, for it is called from all of them.
  ///   - leavesToBLAS: whether BLAS computes all fp32 products.
  public init(
    _ precision: ProductPrecision, isForEvaluation: Bool = false, threads: ThreadPool = ThreadPool(count: 1),
    leavesToBLAS: Bool = Multiplier.isToldToUseBLAS
  ) {
    precondition(precision.isAvailable, "bf16 on a CPU without units for it")
    self.precision = precision
    self.threads = threads
    parts =
      switch precision {
      case .highest: (3, 3)
      case .high: (isForEvaluation ? 2 : 3, 2)
      case .bf16: (1, 1)
      }
    let unit = TileMultiplier.Unit.ofThisCPU
    // Only tiles are so much faster in bf16 that several products of parts beat one in fp32.
    let isFaster = precision == .bf16 || (unit == .amx && !leavesToBLAS)
    tiles = isFaster ? (0..<threads.count).compactMap { _ in unit.map(TileMultiplier.init) } : []
  }

  /// The precision and what computes it: `fp32 (OpenBLAS)`, `fp32 (AMX: 3 parts in bf16, backward 2)`, `bf16 (AMX)`.
  public var name: String {
    guard let unit = tiles.first?.unit.rawValue else { return "fp32 (OpenBLAS)" }
    if precision == .bf16 { return "bf16 (\(unit))" }
    return "fp32 (\(unit): \(parts.forward) parts in bf16, backward \(parts.backward))"
  }

  /// C = A · B, or C += A · B, as `matrixProduct`.
  public func product(
    _ purpose: Purpose, of lines: Lines, rows: Int, columns: Int, depth: Int, _ a: MatrixOperand, _ b: MatrixOperand,
    into output: UnsafeMutablePointer<Float>, outputStride: Int, _ mode: OutputMode = .overwrite
  ) {
    let usesTiles = !tiles.isEmpty && lines == .many
    let parts = purpose == .forward ? parts.forward : parts.backward
    func part(_ thread: Int, _ rowPart: Range<Int>, _ columnPart: Range<Int>) {
      let left = a.fromRow(rowPart.lowerBound)
      let right = b.fromColumn(columnPart.lowerBound)
      let place = output + rowPart.lowerBound * outputStride + columnPart.lowerBound
      if usesTiles {
        tiles[thread].multiply(
          parts: parts, rows: rowPart.count, columns: columnPart.count, depth: depth, left, right, into: place,
          outputStride: outputStride, mode, isReadLate: purpose == .weightGradient)
      } else {
        matrixProduct(
          rows: rowPart.count, columns: columnPart.count, depth: depth, left, right, into: place,
          outputStride: outputStride, mode)
      }
    }
    // Each thread takes part of the longer side; the factor along the shorter one is packed by all, which costs less.
    if rows > columns {
      threads.forEachPart(of: rows, grain: 64) { thread, rowPart in part(thread, rowPart, 0..<columns) }
    } else {
      threads.forEachPart(of: columns, grain: 64) { thread, columnPart in part(thread, 0..<rows, columnPart) }
    }
  }
}
