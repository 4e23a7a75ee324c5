import Kernels
import TestSupport
import Testing

struct SmallProductTests {
  @Test(
    "small products, of either order of the left factor, at sides that blocks do not divide",
    arguments: [
      (8, 32, 1), (8, 32, 7), (9, 33, 5), (15, 63, 64), (50, 64, 50), (7, 64, 3), (20, 31, 4), (1, 80, 64), (3, 1, 2),
      (16, 96, 0),
    ])
  func product(rows: Int, columns: Int, depth: Int) {
    var numbers = Numbers(UInt64(rows * columns + depth))
    // Room behind the rows of each matrix.
    let (bStride, outputStride) = (columns + 3, columns + 2)
    let b = numbers.floats(depth * bStride + 1)
    for isTransposed in [false, true] {
      let (rowStride, depthStride) = isTransposed ? (1, rows + 1) : (depth + 2, 1)
      let a = numbers.floats((rows + 2) * (depth + 2))
      var output = [Float](repeating: 7, count: rows * outputStride)
      smallProduct(
        rows: rows, columns: columns, depth: depth, scale: 0.5, a, aRowStride: rowStride, aDepthStride: depthStride, b,
        bStride: bStride, into: &output, outputStride: outputStride)
      let expected = (0..<rows * outputStride).map { place in
        let (i, j) = (place / outputStride, place % outputStride)
        guard j < columns else { return 7.0 }
        return (0..<depth).reduce(0.0) {
          $0 + 0.5 * Double(a[i * rowStride + $1 * depthStride]) * Double(b[$1 * bStride + j])
        }
      }
      #expect(worstDifference("C", output.map(Double.init), expected, within: 5e-6) == nil)
    }
  }

  @Test("a transpose, and zeros behind it")
  func transposes() {
    let x: [Float] = [1, 2, 3, 9, 4, 5, 6, 9]  // [2, 3], rows 4 apart
    var output = [Float](repeating: 7, count: 13)
    transpose(rows: 2, columns: 3, x, rowStride: 4, into: &output, outputStride: 4)
    #expect(output == [1, 4, 0, 0, 2, 5, 0, 0, 3, 6, 0, 0, 7])
  }
}
