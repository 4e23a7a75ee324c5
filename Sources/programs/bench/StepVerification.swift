import Collectives
import Datasets
import Glibc
import Kernels
import System
import Training

extension Verification {
  /// Compares one batch on rank 0 and tells all ranks; called by all ranks.
  ///
  /// - Throws: `.internalError` where the products are off by more than their precision explains.
  init(
    _ model: Model, _ rows: TokenizedDataset, precision: ProductPrecision, _ communicator: any Communicator
  ) throws(Failure) {
    let differences = try communicator.agree { () throws(Failure) -> [Double] in
      guard communicator.isMain else { return [0, 0] }
      let expected = try model.forwardBackward(
        asOneBatch: rows, keepsGradients: true, gemm: GEMM(.highest, leavesToBLAS: true))
      let result = try model.forwardBackward(asOneBatch: rows, keepsGradients: true, gemm: GEMM(precision))
      guard let gradients = result.gradients, let others = expected.gradients else { return [.nan, .nan] }
      var squares = 0.0
      for index in 0..<gradients.count {
        let difference = Double(gradients.pointer[index]) - Double(others.pointer[index])
        squares += difference * difference
      }
      let logits = zip(result.logits, expected.logits).map { Double(abs($0 - $1)) }.max() ?? 0
      let gradient = squares.squareRoot() / expected.gradientNorm
      let bounds = precision == .bf16 ? (logits: 0.1, gradient: 0.2) : (logits: 1e-4, gradient: 1e-3)
      guard logits <= bounds.logits, gradient <= bounds.gradient else {
        throw Failure(
          .internalError,
          "logits differ by \(logits) and gradients by \(gradient) from those of BLAS, expected at most \(bounds.logits) and \(bounds.gradient)"
        )
      }
      return [logits, gradient]
    }
    let all = try communicator.allGather(differences)[0]
    self.rows = rows.count
    logits_difference = all[0]
    gradient_difference = all[1]
  }

  /// - Throws: `.internalError` on all ranks where the first loss is not that of random weights, which know nothing, or
  ///   the ranks' weights are not the same.
  static func check(
    firstLoss: Double, _ model: Model, _ communicator: any Communicator
  ) throws(Failure) {
    let labels = model.configuration.labels
    // Of a regression nothing is known but that it is finite, which the step has seen to.
    let expected = log(Double(labels))
    let norms = try communicator.allGather(sumOfSquares(count: model.parameters.count, model.parameters.pointer))
    try communicator.agree { () throws(Failure) in
      guard labels == 1 || abs(firstLoss - expected) < 1 else {
        throw Failure(.internalError, "the first loss of random weights is \(firstLoss), expected about \(expected)")
      }
      if let odd = norms.firstIndex(where: { $0 != norms[0] }) {
        throw Failure(.internalError, "the weights of rank \(odd) are not those of rank 0")
      }
    }
  }
}
