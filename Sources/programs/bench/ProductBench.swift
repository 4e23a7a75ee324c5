import Glibc
import Kernels
import System
import Training

/// A way to multiply.
enum ProductMethod: Sendable {
  case blas
  case tiles(parts: Int)
  /// As training does it in this precision.
  case training(ProductPrecision)

  /// Every way that this CPU has.
  static var available: [ProductMethod] {
    [.blas]
      + (InstructionSet.ofThisCPU.map { unit in [0, 3, 2, 1].filter(unit.parts.contains) } ?? []).map {
        .tiles(parts: $0)
      }
  }

  func name(_ settings: RankSettings) -> String {
    switch self {
    case .blas: "fp32 BLAS"
    case .training(let precision): settings.gemm(precision, threads: ThreadPool(count: 1)).name
    case .tiles(parts: 0): "fp32"
    case .tiles(parts: 1): "bf16"
    case .tiles(let parts): "fp32 as \(parts) parts in bf16"
    }
  }

  /// The most that a sum of products may be off, of the sum of their magnitudes.
  var bound: Double {
    switch self {
    case .blas, .tiles(parts: 0), .tiles(parts: 3), .training(.highest): 0x1p-18
    case .tiles(parts: 2), .training(.high): 0x1p-15
    default: 0x1p-7
    }
  }
}

/// One product of a layer and how its factors lie.
struct LayerProduct: Sendable {
  var name: String
  var purpose: GEMM.Purpose
  var rows: Int
  var columns: Int
  var depth: Int
  var isLeftTransposed: Bool
  var isRightTransposed: Bool
  var operations: Double { 2 * Double(rows) * Double(columns) * Double(depth) }
}

/// The products of one encoder layer: forward, the gradient of its input and that of its weights.
struct LayerProducts: Sendable {
  let all: [LayerProduct]

  init(tokens: Int, hidden: Int, intermediate: Int) {
    let layers = [
      ("query, key, value", hidden, 3 * hidden), ("attention output", hidden, hidden),
      ("intermediate", hidden, intermediate), ("output", intermediate, hidden),
    ]
    all = layers.flatMap { name, inputs, outputs in
      [
        LayerProduct(
          name: "\(name): forward", purpose: .forward, rows: tokens, columns: outputs, depth: inputs,
          isLeftTransposed: false,
          isRightTransposed: true),
        LayerProduct(
          name: "\(name): input gradient", purpose: .inputGradient, rows: tokens, columns: inputs, depth: outputs,
          isLeftTransposed: false,
          isRightTransposed: false),
        LayerProduct(
          name: "\(name): weight gradient", purpose: .weightGradient, rows: outputs, columns: inputs, depth: tokens,
          isLeftTransposed: true,
          isRightTransposed: false),
      ]
    }
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
struct ProductResult: Encodable {
  var method: String
  /// Of all products of a layer together.
  var gflops_per_second: Double
  var products: [String: Double]
}

/// Verifies and times products on random numbers.
final class ProductBench {
  private let products: LayerProducts
  private let settings: RankSettings
  private let a: UnsafeMutablePointer<Float>
  private let b: UnsafeMutablePointer<Float>
  private let c: UnsafeMutablePointer<Float>

  init(_ products: LayerProducts, _ settings: RankSettings) {
    self.products = products
    self.settings = settings
    func most(_ count: (LayerProduct) -> Int) -> Int { products.all.map(count).max() ?? 0 }
    let (aCount, bCount) = (most { $0.rows * $0.depth }, most { $0.columns * $0.depth })
    a = allocateFloats(aCount)
    b = allocateFloats(bCount)
    c = allocateFloats(most { $0.rows * $0.columns })
    fillNormal(count: aCount, deviation: 1, seed: 1, start: 0, into: a)
    fillNormal(count: bCount, deviation: 1, seed: 2, start: 0, into: b)
  }

  deinit {
    free(a)
    free(b)
    free(c)
  }

  /// - Throws: `.internalError` where a product is wrong.
  func measure(_ method: ProductMethod, repetitions: Int) throws(Failure) -> ProductResult {
    let tiles = InstructionSet.ofThisCPU.map(TileGEMM.init)
    let threads = ThreadPool(count: settings.threads)
    let gemm: GEMM? =
      switch method {
      case .training(let precision): settings.gemm(precision, threads: threads)
      case .blas: GEMM(.highest, threads: threads, leavesToBLAS: true)
      case .tiles: nil
      }
    func multiply(_ product: LayerProduct) {
      let left = MatrixOperand(a, rowStride: product.isLeftTransposed ? product.rows : product.depth)
      let right = MatrixOperand(b, rowStride: product.isRightTransposed ? product.depth : product.columns)
      let leftOperand = product.isLeftTransposed ? left.transposed : left
      let rightOperand = product.isRightTransposed ? right.transposed : right
      if let gemm {
        gemm.product(
          product.purpose, of: .many, rows: product.rows, columns: product.columns, depth: product.depth, leftOperand,
          rightOperand,
          into: c, outputStride: product.columns)
      } else if case .tiles(let parts) = method, let tiles {
        tiles.multiply(
          parts: parts, rows: product.rows, columns: product.columns, depth: product.depth, leftOperand, rightOperand,
          into: c, outputStride: product.columns, .overwrite)
      }
    }
    var result = ProductResult(method: method.name(settings), gflops_per_second: 0, products: [:])
    var seconds = 0.0
    for product in products.all {
      multiply(product)
      try verify(product, method)
      var best = Double.infinity
      for _ in 0..<repetitions {
        var time = 0.0
        var clock = LapClock()
        multiply(product)
        clock.add(to: &time)
        best = min(best, time)
      }
      result.products[product.name] = product.operations / best * 1e-9
      seconds += best
    }
    result.gflops_per_second = products.all.reduce(0) { $0 + $1.operations } / seconds * 1e-9
    return result
  }

  /// Compares a sample of the output with sums in double precision.
  private func verify(_ product: LayerProduct, _ method: ProductMethod) throws(Failure) {
    for sample in 0..<200 {
      let row = sample * 7919 % product.rows
      let column = sample * 104_729 % product.columns
      var sum = 0.0
      var magnitude = 0.0
      for k in 0..<product.depth {
        let x = a[product.isLeftTransposed ? k * product.rows + row : row * product.depth + k]
        let y = b[product.isRightTransposed ? column * product.depth + k : k * product.columns + column]
        sum += Double(x) * Double(y)
        magnitude += abs(Double(x) * Double(y))
      }
      let value = c[row * product.columns + column]
      guard abs(Double(value) - sum) <= method.bound * magnitude else {
        throw Failure(
          .internalError, at: "\(product.name), \(method.name(settings))",
          "[\(row), \(column)] is \(value), expected \(sum)")
      }
    }
  }
}
