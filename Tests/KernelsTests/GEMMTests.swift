import Kernels
import TestSupport
import Testing

struct MultiplierTests {
  /// Longer than what BLAS gets at a time, and than what a block of a factor holds.
  private static let shapes = [(40, 900, 300), (900, 40, 70), (700, 100, 1700), (300, 1100, 1700)]

  @Test(
    "a product has the same bits for any number of threads",
    arguments: ProductPrecision.allCases.filter(\.isAvailable), [true, false])
  func threads(precision: ProductPrecision, leavesToBLAS: Bool) {
    for (rows, columns, depth) in Self.shapes {
      var numbers = Numbers(UInt64(rows))
      let (a, b) = (numbers.floats(rows * depth), numbers.floats(depth * columns))
      func product(_ purpose: GEMM.Purpose, _ lines: GEMM.RowKind, threads: Int) -> [Float] {
        var output = [Float](repeating: 0, count: rows * columns)
        a.withUnsafeBufferPointer { a in
          b.withUnsafeBufferPointer { b in
            GEMM(precision, threads: ThreadPool(count: threads), leavesToBLAS: leavesToBLAS).product(
              purpose, of: lines, rows: rows, columns: columns, depth: depth,
              MatrixOperand(a.baseAddress!, rowStride: depth), MatrixOperand(b.baseAddress!, rowStride: columns),
              into: &output, outputStride: columns)
          }
        }
        return output
      }
      for (purpose, lines) in [
        (GEMM.Purpose.forward, GEMM.RowKind.many), (.weightGradient, .many), (.forward, .few),
      ] {
        let alone = product(purpose, lines, threads: 1)
        for threads in 2...4 {
          let isSame = product(purpose, lines, threads: threads) == alone
          #expect(isSame, "\(rows) x \(columns) x \(depth), \(purpose), \(lines) lines, \(threads) threads")
        }
      }
    }
  }
}
