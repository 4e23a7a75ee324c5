import CTiles
import Glibc

/// Products of fp32 matrices by the CPU's vectors, in fp32 (AVX2, AVX-512), or by its bf16 units: AMX tiles, or AVX512-BF16.
///
/// A bf16 number holds 8 of fp32's 24 bits, so each factor is cut into parts, x = x₀ + x₁ + x₂, each the bf16 nearest to
/// what the parts before it left over; the products of parts are added up in fp32. With three parts x₀y₀, x₀y₁, x₁y₀,
/// x₁y₁, x₀y₂ and x₂y₀ are taken, and what is left out is below fp32's own rounding; with two parts the first three,
/// and at most 2⁻¹⁶ of a product is lost; with one part it is bf16's plain product. The idea: Henry, Tang and Heinecke,
/// *Leveraging the bfloat16 Artificial Intelligence Datatype for Higher-Precision Computations*, arXiv 1904.06376.
///
/// The loops around the tiles are those of Goto and van de Geijn (*Anatomy of High-Performance Matrix Multiplication*):
/// a block of the left factor stays in the second cache while strips of the right one pass by.
///
/// Holds the packed blocks, so it serves one product at a time.
public final class TileGEMM {
  public let unit: InstructionSet
  private let kind: lockstep_tile_kind_t
  private let blocks: BlockSizes
  private let left: PackedBlock
  private let right: PackedBlock
  private var pending: lockstep_pending_t
  private var ahead = lockstep_ahead_t()

  /// - Parameter unit: one that this CPU has.
  public init(_ unit: InstructionSet) {
    self.unit = unit
    kind = unit.kind
    blocks = BlockSizes(unit)
    (left, right) = (PackedBlock(kind), PackedBlock(kind))
    pending = lockstep_pending_t(
      block: allocateFloats(32 * 32), other: allocateFloats(32 * 32), output: nil, stride: 0, height: 0, width: 0,
      way: lockstep_overwrite)
  }

  deinit {
    free(pending.block)
    free(pending.other)
  }

  /// C = A · B or C += A · B, as `matrixProduct`.
  ///
  /// - Parameters:
  ///   - parts: into how many each factor is cut, of those that the unit can; 0 computes in fp32.
  ///   - wholeRows: of the product that this is a part of: they decide how the depth is cut, and with it the order of sums.
  ///   - isReadLate: whether the output leaves the caches before it is read, so that it may go past them. No bit changes.
  ///   - depthIsCutAlike: cuts the depth alike for any number of rows and on any CPU of a kind.
  public func multiply(
    parts: Int, rows: Int, columns: Int, depth: Int, _ a: MatrixOperand, _ b: MatrixOperand,
    into output: UnsafeMutablePointer<Float>, outputStride: Int, _ mode: OutputMode, wholeRows: Int? = nil,
    isReadLate: Bool = false, depthIsCutAlike: Bool = false
  ) {
    lockstep_tiles_begin(kind)
    defer { lockstep_tiles_end(kind) }
    // As few and as even blocks as fit: of depth, for as many rows as there are; of rows, where they are many.
    let parts = parts == 1 && !unit.multipliesBF16 ? -1 : parts
    let bytes = parts <= 0 ? 4 : 2 * parts
    let most =
      depthIsCutAlike
      ? equalDepth(parts: parts)
      : max(32, blocks.leftBytes / (bytes * (min(wholeRows ?? rows, Self.rowBlock) + 15) / 16 * 16))
    let depthBlock = evenBlock(of: depth, atMost: most, multipleOf: 32)
    let rowBlock = evenBlock(
      of: rows, atMost: max(Self.rowBlock, blocks.leftBytesOfWholeDepth / (bytes * depthBlock)), multipleOf: 32)
    let columnBlock = b.isTransposed ? blocks.columns : blocks.stridedColumns
    // With one block of rows, a strip of columns is used up at once; with several, all strips are kept for the next.
    let keepsStrips = rows > rowBlock
    let goesPastCaches =
      isReadLate && mode == .overwrite && depthBlock >= depth && outputStride % 16 == 0
      && UInt(bitPattern: output) % 64 == 0
    defer { lockstep_finish(kind, &pending) }
    for firstDepth in stride(from: 0, to: depth, by: depthBlock) {
      let slice = firstDepth..<min(firstDepth + depthBlock, depth)
      right.begin(lines: keepsStrips ? columns : min(columns, columnBlock), depth: slice.count, parts: parts)
      for firstRow in stride(from: 0, to: rows, by: rowBlock) {
        let rowRange = firstRow..<min(firstRow + rowBlock, rows)
        left.begin(lines: rowRange.count, depth: slice.count, parts: parts)
        left.pack(a, lines: rowRange, depth: slice, parts: parts, isRight: false)
        for firstColumn in stride(from: 0, to: columns, by: columnBlock) {
          let columnRange = firstColumn..<min(firstColumn + columnBlock, columns)
          let place = keepsStrips ? firstColumn : 0
          if firstRow == 0 {
            right.pack(b.transposed, lines: columnRange, depth: slice, parts: parts, isRight: true, at: place)
            let next = columnRange.upperBound..<min(columnRange.upperBound + columnBlock, columns)
            ahead = b.transposed.ahead(lines: next, depth: slice)
          }
          multiplyBlock(
            parts, rowRange, columnRange, rightPlace: place, output, outputStride,
            mode == .add || firstDepth > 0
              ? lockstep_add : goesPastCaches ? lockstep_past_caches : lockstep_overwrite)
        }
      }
    }
  }

  private func multiplyBlock(
    _ parts: Int, _ rows: Range<Int>, _ columns: Range<Int>, rightPlace: Int, _ output: UnsafeMutablePointer<Float>,
    _ outputStride: Int, _ way: lockstep_way_t
  ) {
    for column in stride(from: columns.lowerBound, to: columns.upperBound, by: 32) {
      let right0 = right.panel(rightPlace + column - columns.lowerBound)
      for row in stride(from: rows.lowerBound, to: rows.upperBound, by: 32) {
        let left0 = left.panel(row - rows.lowerBound)
        lockstep_multiply(
          kind, Int32(parts), Int32(left.tiles), left0, left0 + left.panelCount, right0, right0 + right.panelCount,
          output + row * outputStride + column, outputStride, Int32(min(32, rows.upperBound - row)),
          Int32(min(32, columns.upperBound - column)), way, &pending, &ahead)
      }
    }
  }

  private static let rowBlock = 512

  /// The most of the depth that is added up at once where it is cut alike for all: as measured best for a batch of bert-base.
  func equalDepth(parts: Int) -> Int { 384 * 4 / (parts <= 0 || !unit.multipliesBF16 ? 4 : 2 * parts) }
}

/// How large the packed blocks are, as measured.
private struct BlockSizes {
  /// Of the left factor.
  var leftBytes: Int
  /// The same where its rows are many and its depth is whole: bert-base's 768 rows by a batch's tokens.
  var leftBytesOfWholeDepth: Int
  /// Columns of the right factor's strips.
  var columns: Int
  /// The same where columns are contiguous in memory: longer runs, which the processor fetches ahead by itself.
  var stridedColumns: Int

  init(_ unit: InstructionSet) {
    if unit == .shortVectors {
      // So slow that the left factor may come from the third cache: fewer passes over the output are worth more.
      self.init(leftBytes: 3 << 19, leftBytesOfWholeDepth: 3 << 19, columns: 32, stridedColumns: 64)
    } else {
      // Up to 0.7 of the second cache (2 MB where the system does not say): half of it is as fast, twice as much is not.
      let size = sysconf(Int32(_SC_LEVEL2_CACHE_SIZE))
      let bytes = size > 0 ? max(size, 256 << 10) : 2 << 20
      self.init(leftBytes: bytes / 16 * 10, leftBytesOfWholeDepth: bytes / 1024 * 700, columns: 64, stridedColumns: 128)
    }
  }

  private init(leftBytes: Int, leftBytesOfWholeDepth: Int, columns: Int, stridedColumns: Int) {
    self.leftBytes = leftBytes
    self.leftBytesOfWholeDepth = leftBytesOfWholeDepth
    self.columns = columns
    self.stridedColumns = stridedColumns
  }
}

extension MatrixOperand {
  /// What of memory `lines` (rows of this matrix) take of the depth.
  fileprivate func ahead(lines: Range<Int>, depth: Range<Int>) -> lockstep_ahead_t {
    let (rows, columns) = isTransposed ? (depth, lines) : (lines, depth)
    return lockstep_ahead_t(
      row: elements + rows.lowerBound * rowStride + columns.lowerBound, stride: rowStride,
      rows: columns.isEmpty ? 0 : Int32(rows.count), lines: Int32((columns.count + 15) / 16), line: 0)
  }
}

/// The size of blocks that cut `count` into as few as `most` allows, all nearly alike.
private func evenBlock(of count: Int, atMost most: Int, multipleOf unit: Int) -> Int {
  let blocks = (count + most - 1) / most
  return ((count + blocks - 1) / blocks + unit - 1) / unit * unit
}

/// A block of a factor, cut into parts and laid out in panels of 16 lines.
private final class PackedBlock {
  private let kind: lockstep_tile_kind_t
  private var memory = UnsafeMutablePointer<UInt16>.allocate(capacity: 0)
  private var capacity = 0
  /// Tiles in a panel, and the numbers that each has of the depth.
  private(set) var tiles = 0
  private var tileDepth = 32
  /// A panel's size, in halves of words.
  private(set) var panelCount = 0

  init(_ kind: lockstep_tile_kind_t) { self.kind = kind }

  deinit { free(memory) }

  /// The panel that holds the block's line `line`, a multiple of 16; there is one after it, though it may hold nothing.
  func panel(_ line: Int) -> UnsafeMutablePointer<UInt16> { memory + line / 16 * panelCount }

  /// Begins a block of up to `lines` lines; what it held is lost.
  func begin(lines: Int, depth: Int, parts: Int) {
    tileDepth = parts <= 0 ? 16 : 32
    tiles = (depth + tileDepth - 1) / tileDepth
    panelCount = tiles * 512 * max(1, parts)
    let needed = (lines + 31) / 32 * 2 * panelCount
    guard needed > capacity else { return }
    free(memory)
    memory = UnsafeMutableRawPointer(allocateFloats((needed + 1) / 2)).bindMemory(to: UInt16.self, capacity: needed)
    capacity = needed
  }

  /// Packs `lines` (rows of `operand`) from the block's line `place` on.
  func pack(
    _ operand: MatrixOperand, lines: Range<Int>, depth: Range<Int>, parts: Int, isRight: Bool, at place: Int = 0
  ) {
    let isRight: Int32 = isRight ? 1 : 0
    func packTile(_ tile: Int, ofPanelAt line: Int) {
      let target = panel(place + line - lines.lowerBound) + tile * 512 * max(1, parts)
      let first = depth.lowerBound + tileDepth * tile
      let depthCount = Int32(min(tileDepth, depth.upperBound - first))
      let lineCount = Int32(min(16, lines.upperBound - line))
      let stride = operand.rowStride
      if operand.isTransposed {
        lockstep_pack_strided(
          kind, Int32(parts), isRight, operand.elements + first * stride + line, stride, lineCount, depthCount, target)
      } else {
        lockstep_pack_contiguous(
          kind, Int32(parts), isRight, operand.elements + line * stride + first, stride, lineCount, depthCount, target)
      }
    }
    // In the order of memory: along the depth, or along the lines.
    let panels = stride(from: lines.lowerBound, to: lines.upperBound, by: 16)
    if operand.isTransposed {
      for tile in 0..<tiles { for line in panels { packTile(tile, ofPanelAt: line) } }
    } else {
      for line in panels { for tile in 0..<tiles { packTile(tile, ofPanelAt: line) } }
    }
  }
}
