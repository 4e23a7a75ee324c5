import BERT
import Batches
import Collectives
import Datasets
import Kernels
import System

/// Computes a model's outputs without gradients. Its network is made for the first data set, and again where a later one
/// needs more room.
public final class Evaluator {
  private let configuration: BertConfiguration
  private let head: (any TaskHead)?
  private let gemm: GEMM
  private var network: BertClassifier?
  private let batch = PackedBatch()
  private var model: Model?

  /// - Parameter gemm: for evaluation. Its threads are shared with whoever does not compute meanwhile. Where it is
  ///   row-independent, outputs and losses have the same bits on any number of ranks.
  init(_ configuration: BertConfiguration, head: (any TaskHead)?, _ gemm: GEMM) {
    self.head = head
    self.configuration = configuration
    self.gemm = gemm
  }

  /// An evaluator of a model's weights, whoever trains them.
  ///
  /// - Parameter gemm: as above.
  public convenience init(_ model: Model, _ gemm: GEMM) {
    self.init(model.configuration, head: model.head, gemm)
    self.model = model
  }

  /// The outputs for all rows of a data set, of which each rank computes a part; the same on every rank.
  ///
  /// - Parameters:
  ///   - hasLabels: whether to compute losses.
  ///   - parameters: the flat buffer.
  package func evaluate(
    _ dataset: TokenizedDataset, hasLabels: Bool, batchSize: Int, parameters: UnsafePointer<Float>,
    _ communicator: any Communicator
  ) throws(Failure) -> Evaluation {
    let own = outputs(
      dataset, hasLabels: hasLabels, batchSize: batchSize, parameters: parameters, communicator, isStopped: { false })
    guard let own else { preconditionFailure("an evaluation that nobody stopped has stopped") }
    return try gathered(own, dataset, hasLabels: hasLabels, communicator)
  }

  /// The same; nil on every rank where the user asked one of them to stop meanwhile.
  package func evaluateUnlessStopped(
    _ dataset: TokenizedDataset, hasLabels: Bool, batchSize: Int, parameters: UnsafePointer<Float>,
    _ communicator: any Communicator
  ) throws(Failure) -> Evaluation? {
    let own = outputs(
      dataset, hasLabels: hasLabels, batchSize: batchSize, parameters: parameters, communicator,
      isStopped: { communicator.isRankAskedToStop })
    // Ranks hear of it at different times, or when they are done.
    let areDone = try communicator.allGather(own == nil ? 0 : 1).allSatisfy { $0 == 1 }
    guard areDone, let own else { return nil }
    return try gathered(own, dataset, hasLabels: hasLabels, communicator)
  }

  private typealias Outputs = (losses: [Double], logits: [Float])

  private func gathered(
    _ own: Outputs, _ dataset: TokenizedDataset, hasLabels: Bool, _ communicator: any Communicator
  ) throws(Failure) -> Evaluation {
    let lossSum = hasLabels ? try self.lossSum(own.losses, communicator) : 0
    return Evaluation(
      lossSum: lossSum,
      rows: try EvaluatedRows(
        gathering: own.logits, outputs: configuration.labels, labels: dataset.labels, communicator))
  }

  /// The sum over all rows: of the ranks' sums, or in the order of rows where it may not depend on the ranks.
  private func lossSum(_ losses: [Double], _ communicator: any Communicator) throws(Failure) -> Double {
    guard gemm.isRowIndependent else { return try communicator.sum(losses.reduce(0, +)) }
    let parts = try communicator.allGather(losses.withUnsafeBytes { Array($0) })
    return parts.reduce(0) { sum, part in
      part.withUnsafeBytes { $0.bindMemory(to: Double.self).reduce(sum, +) }
    }
  }

  /// Losses and outputs of this rank's rows of a data set; losses of each row where it matters, else of each batch.
  ///
  /// - Parameters:
  ///   - batchSize: rows of a batch. Where rows are short, more of them share a batch: as many as have no more
  ///     tokens than `batchSize` of the longest.
  ///   - isStopped: looked at before each batch; where it holds there is no result.
  private func outputs(
    _ dataset: TokenizedDataset, hasLabels: Bool, batchSize: Int, parameters: UnsafePointer<Float>,
    _ communicator: any Communicator, isStopped: () -> Bool
  ) -> Outputs? {
    let (rank, ranks) = (communicator.rank, communicator.size)
    let rows = dataset.count * rank / ranks..<dataset.count * (rank + 1) / ranks
    var (losses, logits): ([Double], [Float]) = ([], [])
    logits.reserveCapacity(rows.count * configuration.labels)
    let network = network(for: dataset, batchSize: batchSize)
    var start = rows.lowerBound
    while start < rows.upperBound {
      if isStopped() { return nil }
      let end = network.limits.end(ofBatchFrom: start, in: dataset, before: rows.upperBound)
      batch.fill(from: dataset, rows: start..<end)
      network.forward(batch, parameters: parameters)
      if hasLabels {
        let sum = network.loss(gradientScale: 1)
        losses += gemm.isRowIndependent ? network.rowLosses : [sum]
      }
      logits.append(contentsOf: network.logits)
      start = end
    }
    return (losses, logits)
  }

  /// Logits `[rows, labels]` of a batch by the model that the evaluator was made for.
  ///
  /// - Parameter limits: hold for all batches of its kind.
  public func logits(_ batch: PackedBatch, limits: BatchLimits) -> [Float] {
    guard let model else { preconditionFailure("an evaluator without a model") }
    let network = network(limits)
    network.forward(batch, parameters: model.parameters.pointer)
    return Array(network.logits)
  }

  private func network(for dataset: TokenizedDataset, batchSize: Int) -> BertClassifier {
    let rows = min(batchSize, dataset.count)
    let limits = BatchLimits(
      tokens: dataset.mostTokens(inRows: rows), sequences: min(4 * rows, dataset.count), length: dataset.longestRow)
    return self.network(limits)
  }

  private func network(_ limits: BatchLimits) -> BertClassifier {
    if let known = network, known.limits.holds(limits) { return known }
    let made = BertClassifier(
      configuration, head: head, limits: limits, keepsForBackward: false, gemm: gemm)
    network = made
    return made
  }
}
