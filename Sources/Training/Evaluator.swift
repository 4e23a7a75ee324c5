import BERT
import Datasets
import Kernels

/// Counts what a model gets right, without gradients. Its network is made for the first data set, and again where a later
/// one needs more room.
final class Evaluator {
  private let configuration: BertConfiguration
  private let multiplier: Multiplier
  private var network: BertClassifier?
  private var batch = Batch()

  /// - Parameters:
  ///   - precision: that of the training; products are as exact as counts need them.
  ///   - threads: shared with whoever does not compute meanwhile.
  init(_ configuration: BertConfiguration, _ precision: ProductPrecision, threads: ThreadPool) {
    self.configuration = configuration
    multiplier = Multiplier(precision, isForEvaluation: true, threads: threads)
  }

  /// Counts the rows `rows` of a data set.
  ///
  /// - Parameters:
  ///   - batchSize: rows of a batch. Where rows are short, more of them share a batch: as many as have no more tokens
  ///     than `batchSize` of the longest.
  ///   - parameters: the flat buffer.
  func callAsFunction(
    _ dataset: TokenizedDataset, rows: Range<Int>, batchSize: Int, parameters: UnsafePointer<Float>
  ) -> ClassificationCounts {
    var counts = ClassificationCounts()
    let network = network(for: dataset, batchSize: batchSize)
    var start = rows.lowerBound
    while start < rows.upperBound {
      let end = network.limits.end(ofBatchFrom: start, in: dataset, before: rows.upperBound)
      batch.fill(from: dataset, rows: Array(start..<end))
      batch.withPackedInput { input in
        network.forward(input, parameters: parameters)
        counts.lossSum += network.loss(of: batch, gradientScale: 1)
        counts.add(batch, logits: network.logits)
      }
      start = end
    }
    return counts
  }

  private func network(for dataset: TokenizedDataset, batchSize: Int) -> BertClassifier {
    let rows = min(batchSize, dataset.count)
    let limits = BatchLimits(
      tokens: dataset.mostTokens(inRows: rows), sequences: min(4 * rows, dataset.count), length: dataset.longestRow)
    if let known = network, known.limits.holds(limits) { return known }
    let made = BertClassifier(configuration, limits: limits, keepsForBackward: false, multiplier: multiplier)
    network = made
    return made
  }
}
