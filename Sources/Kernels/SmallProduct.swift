import CCPU

/// C = scale · A · B for small matrices, such as those of one head of one sequence, of which a library's call would spend
/// most of its time on finding out what to do.
///
/// Blocks are held in registers: 8 rows and 32 columns of AVX-512's, 6 rows and 16 columns of others. Where sides are no
/// multiples, the last blocks overlap those before them, and write the same again.
///
/// - Parameters:
///   - a: `[rows, depth]`: element (i, k) lies at `i * aRowStride + k * aDepthStride`.
///   - b: `[depth, columns]`, rows `bStride` apart.
///   - output: C `[rows, columns]`, rows `outputStride` apart, overwritten.
public func smallProduct(
  rows: Int, columns: Int, depth: Int, scale: Float = 1, _ a: UnsafePointer<Float>, aRowStride: Int, aDepthStride: Int,
  _ b: UnsafePointer<Float>, bStride: Int, into output: UnsafeMutablePointer<Float>, outputStride: Int
) {
  let hasAVX512 = lockstep_compiled_cpu_features() & 1 << 5 != 0
  let (blockRows, blockColumns) = hasAVX512 ? (8, 32) : (6, 16)
  guard rows >= blockRows && columns >= blockColumns else {
    for row in 0..<rows {
      let outputRow = output + row * outputStride
      outputRow.update(repeating: 0, count: columns)
      for k in 0..<depth {
        let factor = a[row * aRowStride + k * aDepthStride] * scale
        let bRow = b + k * bStride
        for j in 0..<columns { outputRow[j] = outputRow[j].addingProduct(factor, bRow[j]) }
      }
    }
    return
  }
  for column in stride(from: 0, to: columns, by: blockColumns) {
    let firstColumn = min(column, columns - blockColumns)
    for row in stride(from: 0, to: rows, by: blockRows) {
      let firstRow = min(row, rows - blockRows)
      let left = a + firstRow * aRowStride
      let place = output + firstRow * outputStride + firstColumn
      if hasAVX512 {
        wideBlock(
          depth: depth, scale: scale, left, aRowStride, aDepthStride, b + firstColumn, bStride, place, outputStride)
      } else {
        narrowBlock(
          depth: depth, scale: scale, left, aRowStride, aDepthStride, b + firstColumn, bStride, place, outputStride)
      }
    }
  }
}

/// A block of 6 rows and 16 columns.
@inline(__always)
private func narrowBlock(
  depth: Int, scale: Float, _ a: UnsafePointer<Float>, _ aRowStride: Int, _ aDepthStride: Int,
  _ b: UnsafePointer<Float>, _ bStride: Int, _ output: UnsafeMutablePointer<Float>, _ outputStride: Int
) {
  var (s0, s1, s2, s3, s4, s5) = (
    SIMD16<Float>(), SIMD16<Float>(), SIMD16<Float>(), SIMD16<Float>(), SIMD16<Float>(), SIMD16<Float>()
  )
  var (aDepth, bDepth) = (a, b)
  for _ in 0..<depth {
    let columns = bDepth.lanes(at: 0)
    s0 = s0.addingProduct(SIMD16<Float>(repeating: aDepth[0]), columns)
    s1 = s1.addingProduct(SIMD16<Float>(repeating: aDepth[aRowStride]), columns)
    s2 = s2.addingProduct(SIMD16<Float>(repeating: aDepth[2 * aRowStride]), columns)
    s3 = s3.addingProduct(SIMD16<Float>(repeating: aDepth[3 * aRowStride]), columns)
    s4 = s4.addingProduct(SIMD16<Float>(repeating: aDepth[4 * aRowStride]), columns)
    s5 = s5.addingProduct(SIMD16<Float>(repeating: aDepth[5 * aRowStride]), columns)
    aDepth += aDepthStride
    bDepth += bStride
  }
  @inline(__always)
  func store(_ row: Int, _ sums: SIMD16<Float>) {
    UnsafeMutableRawPointer(output + row * outputStride).storeBytes(of: sums * scale, as: SIMD16<Float>.self)
  }
  store(0, s0)
  store(1, s1)
  store(2, s2)
  store(3, s3)
  store(4, s4)
  store(5, s5)
}

/// A block of 8 rows and 32 columns.
@inline(__always)
private func wideBlock(
  depth: Int, scale: Float, _ a: UnsafePointer<Float>, _ aRowStride: Int, _ aDepthStride: Int,
  _ b: UnsafePointer<Float>, _ bStride: Int, _ output: UnsafeMutablePointer<Float>, _ outputStride: Int
) {
  // One variable for each sum: an array would not stay in registers.
  var (s00, s01) = (SIMD16<Float>(), SIMD16<Float>())
  var (s10, s11) = (SIMD16<Float>(), SIMD16<Float>())
  var (s20, s21) = (SIMD16<Float>(), SIMD16<Float>())
  var (s30, s31) = (SIMD16<Float>(), SIMD16<Float>())
  var (s40, s41) = (SIMD16<Float>(), SIMD16<Float>())
  var (s50, s51) = (SIMD16<Float>(), SIMD16<Float>())
  var (s60, s61) = (SIMD16<Float>(), SIMD16<Float>())
  var (s70, s71) = (SIMD16<Float>(), SIMD16<Float>())
  var (aDepth, bDepth) = (a, b)
  for _ in 0..<depth {
    let (b0, b1) = (bDepth.lanes(at: 0), bDepth.lanes(at: 16))
    let a0 = SIMD16<Float>(repeating: aDepth[0])
    (s00, s01) = (s00.addingProduct(a0, b0), s01.addingProduct(a0, b1))
    let a1 = SIMD16<Float>(repeating: aDepth[aRowStride])
    (s10, s11) = (s10.addingProduct(a1, b0), s11.addingProduct(a1, b1))
    let a2 = SIMD16<Float>(repeating: aDepth[2 * aRowStride])
    (s20, s21) = (s20.addingProduct(a2, b0), s21.addingProduct(a2, b1))
    let a3 = SIMD16<Float>(repeating: aDepth[3 * aRowStride])
    (s30, s31) = (s30.addingProduct(a3, b0), s31.addingProduct(a3, b1))
    let a4 = SIMD16<Float>(repeating: aDepth[4 * aRowStride])
    (s40, s41) = (s40.addingProduct(a4, b0), s41.addingProduct(a4, b1))
    let a5 = SIMD16<Float>(repeating: aDepth[5 * aRowStride])
    (s50, s51) = (s50.addingProduct(a5, b0), s51.addingProduct(a5, b1))
    let a6 = SIMD16<Float>(repeating: aDepth[6 * aRowStride])
    (s60, s61) = (s60.addingProduct(a6, b0), s61.addingProduct(a6, b1))
    let a7 = SIMD16<Float>(repeating: aDepth[7 * aRowStride])
    (s70, s71) = (s70.addingProduct(a7, b0), s71.addingProduct(a7, b1))
    aDepth += aDepthStride
    bDepth += bStride
  }
  @inline(__always)
  func store(_ row: Int, _ left: SIMD16<Float>, _ right: SIMD16<Float>) {
    let place = UnsafeMutableRawPointer(output + row * outputStride)
    place.storeBytes(of: left * scale, as: SIMD16<Float>.self)
    place.storeBytes(of: right * scale, toByteOffset: 64, as: SIMD16<Float>.self)
  }
  store(0, s00, s01)
  store(1, s10, s11)
  store(2, s20, s21)
  store(3, s30, s31)
  store(4, s40, s41)
  store(5, s50, s51)
  store(6, s60, s61)
  store(7, s70, s71)
}

/// Overwrites `output` with the transpose of `x`.
///
/// - Parameters:
///   - x: `[rows, columns]`, rows `rowStride` apart.
///   - output: `[columns, outputStride]`: `rows` numbers of each row, then zeros.
public func transpose(
  rows: Int, columns: Int, _ x: UnsafePointer<Float>, rowStride: Int, into output: UnsafeMutablePointer<Float>,
  outputStride: Int
) {
  for column in 0..<columns {
    let outputRow = output + column * outputStride
    for row in 0..<rows { outputRow[row] = x[row * rowStride + column] }
    (outputRow + rows).update(repeating: 0, count: outputStride - rows)
  }
}
