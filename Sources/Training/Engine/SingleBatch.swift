import BERT
import Batches
import Datasets
import Kernels
import System

/// Forward, and on request backward, of one data set as one batch.
public struct SingleBatchResult {
  /// `[rows, labels]`.
  public var logits: [Float]
  /// Mean over the rows.
  public var loss: Double
  /// Of the mean loss, in the layout's order.
  public var gradients: FloatBuffer?
  public var gradientNorm: Double
}

extension Model {
  /// Computes all rows of `dataset` as one batch, dropout off.
  public func forwardBackward(
    asOneBatch dataset: TokenizedDataset, keepsGradients: Bool, gemm: GEMM = GEMM(.high)
  ) throws(Failure) -> SingleBatchResult {
    try dataset.check(against: configuration)
    let limits = BatchLimits(
      tokens: dataset.inputIDs.count, sequences: dataset.count, length: dataset.longestRow)
    try MemoryNeed.singleBatch(configuration, limits: limits, keepsGradients: keepsGradients).require(for: "the batch")
    let network = BertClassifier(
      configuration, head: head, limits: limits, keepsForBackward: keepsGradients, gemm: gemm)
    let batch = PackedBatch()
    batch.fill(from: dataset, rows: 0..<dataset.count)
    var result = SingleBatchResult(logits: [], loss: 0, gradients: nil, gradientNorm: 0)
    network.forward(batch, parameters: parameters.pointer)
    result.logits = Array(network.logits)
    let scale = 1 / Double(dataset.count)
    result.loss = network.loss(gradientScale: scale) * scale
    guard keepsGradients else { return result }
    let gradients = FloatBuffer(count: layout.count)
    network.backward(parameters: parameters.pointer, gradients: gradients.pointer, .overwrite)
    result.gradientNorm = sumOfSquares(count: gradients.count, gradients.pointer).squareRoot()
    result.gradients = gradients
    return result
  }
}
