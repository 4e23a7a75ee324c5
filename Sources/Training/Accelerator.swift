import BERT
import Collectives
import Datasets
import FileSystem
import Kernels

/// What one optimizer step did.
public struct StepReport: Sendable, Equatable {
  /// Steps taken so far, this one included.
  public var step: Int
  /// Mean loss of a row over all ranks.
  public var loss: Double
  /// Euclidean norm of the whole gradient before clipping.
  public var gradientNorm: Double
  public var learningRate: Double
}

/// The training of one model by all ranks together: the same step everywhere, on gradients summed over the ranks.
///
/// The loss of each row counts 1 / (rows of the window over all ranks) before the sum, so that uneven shares and a short
/// last window need no correction.
public final class Accelerator {
  public let communicator: any Communicator
  public let model: Model
  public let optimizer: AdamW
  /// The gradient is scaled down to this norm where it is longer; nil does not clip.
  public let maxGradientNorm: Double?
  public let seed: UInt64

  private let network: BertClassifier
  private var evaluationNetwork: BertClassifier?
  private var batch = Batch()
  private let gradients: FloatBuffer
  private var windowLossSum = 0.0
  private var windowRows = 0

  /// - Parameters:
  ///   - model: the same weights on every rank.
  ///   - limits: the largest batch.
  ///   - seed: of dropout.
  public init(
    _ communicator: any Communicator, model: Model, optimizer: AdamW.Options, limits: BatchLimits, seed: UInt64,
    maxGradientNorm: Double? = nil
  ) {
    self.communicator = communicator
    self.model = model
    self.optimizer = AdamW(model.layout, optimizer)
    self.maxGradientNorm = maxGradientNorm
    self.seed = seed
    network = BertClassifier(model.configuration, limits: limits)
    gradients = FloatBuffer(count: model.layout.count)
    batch.reserveCapacity(rows: limits.sequences, tokens: limits.tokens)
  }

  /// Forward and backward of this rank's share; the gradients add up until `step`.
  public func backward(_ share: Share) {
    let mode: OutputMode = windowRows == 0 ? .overwrite : .add
    windowRows = share.windowRows
    guard !share.rows.isEmpty else {
      if mode == .overwrite { gradients.pointer.update(repeating: 0, count: gradients.count) }
      return
    }
    batch.fill(from: share.dataset, rows: share.rows)
    let plan = DropoutPlan(seed: seed, step: optimizer.step + 1)
    batch.withPackedInput { input in
      network.forward(input, parameters: model.parameters.pointer, dropout: plan)
      windowLossSum += network.loss(of: batch, gradientScale: 1 / Double(share.windowRows))
      network.backward(parameters: model.parameters.pointer, gradients: gradients.pointer, mode)
    }
  }

  /// Sums the gradients over the ranks and takes one optimizer step, the same on every rank.
  ///
  /// - Throws: `.badData` on every rank where the loss or the gradient is not a finite number; nothing is updated then.
  public func step(learningRate: Double) throws(Failure) -> StepReport {
    precondition(windowRows > 0, "step without backward")
    let losses = try communicator.allGather(windowLossSum)
    if let bad = losses.firstIndex(where: { !$0.isFinite }) {
      try refuse("the loss became \(losses[bad]) at step \(optimizer.step + 1) on rank \(bad)")
    }
    try communicator.sum(gradients.buffer)
    let norm = try gradientNorm()
    if !norm.isFinite {
      let tensor = model.layout.slots.first { slot in
        !sumOfSquares(count: slot.count, gradients.pointer + slot.offset).isFinite
      }
      try refuse(
        "the gradient's norm became \(norm) at step \(optimizer.step + 1), first in \(tensor?.name ?? "the sum")")
    }
    let clip = maxGradientNorm.map { min(1, $0 / (norm + 1e-6)) } ?? 1
    optimizer.apply(
      parameters: model.parameters.pointer, gradients: gradients.pointer, learningRate: learningRate,
      gradientScale: clip)
    let loss = losses.reduce(0, +) / Double(windowRows)
    windowLossSum = 0
    windowRows = 0
    return StepReport(step: optimizer.step, loss: loss, gradientNorm: norm, learningRate: learningRate)
  }

  /// Logits, predictions and losses of a data set, every row exactly once, counted over all ranks.
  ///
  /// - Parameters:
  ///   - batchSize: rows of a batch of one rank.
  public func evaluate(_ dataset: TokenizedDataset, batchSize: Int) throws(Failure) -> ClassificationCounts {
    let (rank, ranks) = (communicator.rank, communicator.size)
    let rows = dataset.count * rank / ranks..<dataset.count * (rank + 1) / ranks
    var counts = ClassificationCounts()
    let network = evaluationNetwork(for: dataset, batchSize: batchSize)
    var start = rows.lowerBound
    while start < rows.upperBound {
      let end = min(start + batchSize, rows.upperBound)
      batch.fill(from: dataset, rows: Array(start..<end))
      batch.withPackedInput { input in
        network.forward(input, parameters: model.parameters.pointer)
        counts.lossSum += network.loss(of: batch, gradientScale: 1)
        counts.add(batch, logits: network.logits)
      }
      start = end
    }
    return ClassificationCounts(doubles: try communicator.sum(counts.asDoubles))
  }

  private func evaluationNetwork(for dataset: TokenizedDataset, batchSize: Int) -> BertClassifier {
    let limits = BatchLimits(
      tokens: dataset.mostTokens(inRows: batchSize), sequences: batchSize, length: dataset.longestRow)
    if let known = evaluationNetwork, known.limits.holds(limits) { return known }
    let made = BertClassifier(model.configuration, limits: limits, keepsForBackward: false)
    evaluationNetwork = made
    return made
  }

  /// Each rank squares its part of the summed gradient, and the parts are added: the same on every rank.
  private func gradientNorm() throws(Failure) -> Double {
    let start = gradients.count * communicator.rank / communicator.size
    let end = gradients.count * (communicator.rank + 1) / communicator.size
    let squares = sumOfSquares(count: end - start, gradients.pointer + start)
    return try communicator.sum(squares).squareRoot()
  }

  /// Every rank knows the same, so all end in order and one line is printed.
  private func refuse(_ message: String) throws(Failure) {
    try communicator.agree { () throws(Failure) in
      throw Failure(.badData, message, hint: "a lower learning rate or --max-grad-norm 1 may help")
    }
  }
}

extension Batch {
  /// Calls `body` with this batch as the model takes it.
  func withPackedInput(_ body: (PackedInput) -> Void) {
    inputIDs.withUnsafeBufferPointer { tokenIDs in
      tokenTypeIDs.withUnsafeBufferPointer { typeIDs in
        offsets.withUnsafeBufferPointer { starts in
          rows.withUnsafeBufferPointer { rows in
            guard let tokens = tokenIDs.baseAddress, let types = typeIDs.baseAddress, let starts = starts.baseAddress,
              let rows = rows.baseAddress
            else { preconditionFailure("a batch without rows") }
            body(
              PackedInput(
                tokens: tokenCount, sequences: count, tokenIDs: tokens, typeIDs: types, starts: starts, rows: rows))
          }
        }
      }
    }
  }
}

extension BertClassifier {
  /// The sum of the losses of the batch's rows, after forward: squared error where the model has one output.
  func loss(of batch: Batch, gradientScale: Double) -> Double {
    if configuration.labels == 1 {
      batch.scores.withUnsafeBufferPointer { squaredErrorLoss(targets: $0.baseAddress!, gradientScale: gradientScale) }
    } else {
      batch.labels.withUnsafeBufferPointer { crossEntropyLoss(labels: $0.baseAddress!, gradientScale: gradientScale) }
    }
  }
}

extension ClassificationCounts {
  /// Counts the rows of a batch; the prediction is the class with the largest logit, the first where several are.
  mutating func add(_ batch: Batch, logits: UnsafeBufferPointer<Float>) {
    let classes = batch.count == 0 ? 0 : logits.count / batch.count
    for row in 0..<batch.count {
      var prediction = 0
      for j in 1..<max(classes, 1) where logits[row * classes + j] > logits[row * classes + prediction] {
        prediction = j
      }
      add(label: Int(batch.labels[row]), prediction: prediction)
    }
  }
}
