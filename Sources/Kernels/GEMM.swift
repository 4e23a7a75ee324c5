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
  public var isAvailable: Bool { self != .bf16 || InstructionSet.ofThisCPU != nil }

  /// Whether this machine is faster in bf16 than in fp32.
  public static var isBF16Fast: Bool { InstructionSet.ofThisCPU?.multipliesBF16 == true }
}

/// Multiplies the matrices of a model's linear layers: in fp32 by the CPU's vectors or, where that is the faster way to
/// `precision`, by its bf16 units; by BLAS on CPUs that have neither. The threads share out each product; the sums are
/// the same for any number of them.
public final class GEMM {
  /// What a product is for. Gradients of weights are read after the whole backward only.
  public enum Purpose: Sendable { case forward, inputGradient, weightGradient }

  /// Whether a product has many lines or a few, of which most of its time in bf16 would be packing.
  public enum RowKind: Sendable { case many, few }

  public let precision: ProductPrecision
  public let threads: ThreadPool
  /// One for each thread; none where BLAS computes everything.
  private let tiles: [TileGEMM]
  /// Parts of numbers (0: fp32 itself) where there are many lines; nil for BLAS.
  private let parts: (forward: Int, backward: Int)?
  private let leavesFloatsToBLAS: Bool
  /// Whether the depth is cut alike however many rows there are, and whatever caches this CPU has: then a row's products,
  /// and a weight's gradient, have the same bits in any batch.
  public let isRowIndependent: Bool

  /// - Parameters:
  ///   - precision: one that `isAvailable`.
  ///   - isForEvaluation: whether nothing but counts and a mean loss comes of its forward products.
  ///   - threads: BLAS must use one thread, for it is called from all of them.
  ///   - leavesToBLAS: whether BLAS computes all fp32 products.
  ///   - isRowIndependent: as the property says; only where `canBeRowIndependent`.
  public init(
    _ precision: ProductPrecision, isForEvaluation: Bool = false, threads: ThreadPool = ThreadPool(count: 1),
    leavesToBLAS: Bool = false, isRowIndependent: Bool = false
  ) {
    precondition(
      !isRowIndependent || (!leavesToBLAS && InstructionSet.ofThisCPU != nil), "rows of BLAS depend on one another")
    self.isRowIndependent = isRowIndependent
    precondition(precision.isAvailable, "bf16 on a CPU without units for it")
    self.precision = precision
    self.threads = threads
    let unit = InstructionSet.ofThisCPU
    tiles = (0..<threads.count).compactMap { _ in unit.map(TileGEMM.init) }
    leavesFloatsToBLAS = leavesToBLAS || tiles.isEmpty
    parts =
      switch (precision, unit) {
      case (.bf16, _): (1, 1)
      case _ where leavesFloatsToBLAS: nil
      // Only tiles are so much faster in bf16 that several products of parts beat one in fp32.
      case (.highest, .amx): (3, 3)
      case (.high, .amx): (isForEvaluation ? 2 : 3, 2)
      default: (0, 0)
      }
  }

  /// The precision and what computes it: `fp32 (OpenBLAS)`, `fp32 (AVX-512)`, `fp32 (AMX: 3 parts in bf16, backward 2)`,
  /// `bf16 (AMX)`.
  public var name: String {
    guard let parts, let unit = tiles.first?.unit else { return "fp32 (OpenBLAS)" }
    if precision == .bf16 { return "bf16 (\(unit.rawValue)\(unit.multipliesBF16 ? "" : ", multiplied as fp32"))" }
    if parts.forward == 0 { return "fp32 (\((unit == .shortVectors ? unit : .vectors).rawValue))" }
    return "fp32 (\(unit.rawValue): \(parts.forward) parts in bf16, backward \(parts.backward))"
  }

  /// Whether this machine has products whose bits do not depend on how many rows there are: those of BLAS do.
  public static var canBeRowIndependent: Bool { InstructionSet.ofThisCPU != nil }

  private func parts(_ purpose: Purpose, _ lines: RowKind) -> Int? {
    switch lines {
    case .many: purpose == .forward ? parts?.forward : parts?.backward
    case .few: leavesFloatsToBLAS ? nil : 0
    }
  }

  /// Whether a gradient of weights over `depth` rows is added in one piece: then C += A · B is C + (A · B) to the bit.
  public func isAddedAtOnce(_ lines: RowKind, depth: Int) -> Bool {
    guard isRowIndependent, let parts = parts(.weightGradient, lines), let tiles = tiles.first else { return false }
    return depth <= tiles.equalDepth(parts: parts)
  }

  /// C = A · B, or C += A · B, as `matrixProduct`.
  ///
  /// - Parameter isReadLate: false where a gradient of weights is read again soon.
  public func product(
    _ purpose: Purpose, of lines: RowKind, rows: Int, columns: Int, depth: Int, _ a: MatrixOperand, _ b: MatrixOperand,
    into output: UnsafeMutablePointer<Float>, outputStride: Int, _ mode: OutputMode = .overwrite,
    isReadLate: Bool = true
  ) {
    let parts = parts(purpose, lines)
    func part(_ thread: Int, _ rowPart: Range<Int>, _ columnPart: Range<Int>) {
      let left = a.fromRow(rowPart.lowerBound)
      let right = b.fromColumn(columnPart.lowerBound)
      let place = output + rowPart.lowerBound * outputStride + columnPart.lowerBound
      if let parts {
        tiles[thread].multiply(
          parts: parts, rows: rowPart.count, columns: columnPart.count, depth: depth, left, right, into: place,
          outputStride: outputStride, mode, wholeRows: rows, isReadLate: isReadLate && purpose == .weightGradient,
          depthIsCutAlike: isRowIndependent)
      } else {
        matrixProduct(
          rows: rowPart.count, columns: columnPart.count, depth: depth, left, right, into: place,
          outputStride: outputStride, mode)
      }
    }
    // Each thread takes part of the longer side; the factor along the shorter one is packed by all, which costs less.
    let isCutByRows = rows > columns
    let length = isCutByRows ? rows : columns
    func cut(_ thread: Int, _ range: Range<Int>) {
      isCutByRows ? part(thread, range, 0..<columns) : part(thread, 0..<rows, range)
    }
    if parts != nil {
      threads.forEachPart(of: length, grain: 64, cut)
    } else {
      // BLAS adds up in an order that depends on the shape: the same blocks for any number of threads.
      threads.forEachBlock(of: length, blockCount: Self.blasBlock, cut)
    }
  }

  /// Rows or columns that BLAS gets at a time.
  private static let blasBlock = 384
}
