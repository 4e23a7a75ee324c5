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
  /// Whether the user wants the job to stop here; the same on every rank.
  public var isAskedToStop = false
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
  /// This rank's gradients.
  private let gradients: FloatBuffer
  /// Whose sum is the gradient of the whole batch: every rank's where they share memory, else this rank's, summed.
  private let gradientSources: [UnsafePointer<Float>]
  private var windowLossSum = 0.0
  private var windowRows = 0
  private var windowSeconds = StepSeconds()
  /// Where the time of the last step went on this rank, accumulated micro-batches included.
  public private(set) var stepSeconds = StepSeconds()
  /// The same of all steps so far.
  public private(set) var totalSeconds = StepSeconds()
  /// Seconds of all evaluations so far on this rank.
  public private(set) var evaluationSeconds = 0.0
  /// Where every part of a step leaves its span; nil costs nothing.
  public var timeline: Timeline? {
    didSet { network.partFinished = timeline.map { timeline in { timeline.finished($0, $1) } } }
  }

  /// - Parameters:
  ///   - model: the same weights on every rank.
  ///   - limits: the largest batch.
  ///   - precision: of the products, one that `isAvailable`.
  ///   - threads: this rank's threads.
  ///   - seed: of dropout.
  public init(
    _ communicator: any Communicator, model: Model, optimizer: AdamW.Options, limits: BatchLimits,
    precision: ProductPrecision = .high, threads: ThreadPool = ThreadPool(count: Hardware.threads), seed: UInt64,
    maxGradientNorm: Double? = nil
  ) throws(Failure) {
    self.communicator = communicator
    self.model = model
    self.maxGradientNorm = maxGradientNorm
    self.seed = seed
    network = BertClassifier(model.configuration, limits: limits, multiplier: Multiplier(precision, threads: threads))
    let count = model.layout.count
    if model.isShared, let memory = try communicator.makeJobMemory(count: count) {
      gradients = FloatBuffer(borrowing: memory.parts[communicator.localRank])
      gradientSources = memory.parts.compactMap { $0.baseAddress.map { UnsafePointer($0) } }
      self.optimizer = AdamW(model.layout, optimizer, threads: threads, slice: slice(of: count, communicator))
    } else {
      gradients = FloatBuffer(count: count)
      gradientSources = [UnsafePointer(gradients.pointer)]
      self.optimizer = AdamW(
        model.layout, optimizer, threads: threads, slice: model.isShared ? slice(of: count, communicator) : nil)
    }
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
    var clock = LapClock()
    batch.fill(from: share.dataset, rows: share.rows)
    finish(.data, &clock)
    let plan = DropoutPlan(seed: seed, step: optimizer.step + 1)
    batch.withPackedInput { input in
      network.forward(input, parameters: model.parameters.pointer, dropout: plan)
      windowLossSum += network.loss(of: batch, gradientScale: 1 / Double(share.windowRows))
      finish(.forward, &clock)
      network.backward(parameters: model.parameters.pointer, gradients: gradients.pointer, mode)
      finish(.backward, &clock)
    }
  }

  /// Sums the gradients over the ranks and takes one optimizer step, the same on every rank.
  ///
  /// Where ranks share memory, each adds up and applies its slice of the parameters, in one pass; else every rank sums
  /// and applies all of them.
  ///
  /// - Throws: `.badData` on every rank where the loss or the gradient is not a finite number. Nothing is updated then,
  ///   but where only the gradient is bad and the norm is not clipped: the weights are of no use any more.
  @discardableResult
  public func step(learningRate: Double) throws(Failure) -> StepReport {
    precondition(windowRows > 0, "step without backward")
    var clock = LapClock()
    // Also the sign that every rank's gradients are there.
    let shares = try communicator.allGather([windowLossSum, communicator.isRankAskedToStop ? 1 : 0])
    let losses = shares.map { $0[0] }
    if let bad = losses.firstIndex(where: { !$0.isFinite }) {
      try refuse("the loss became \(named(losses[bad])) at step \(optimizer.step + 1) on rank \(bad)")
    }
    finish(.waiting, &clock)
    if !sharesGradients { try communicator.sum(gradients.buffer) }
    finish(.communication, &clock)
    let norm: Double
    if let maxGradientNorm {
      norm = try gradientNorm(squares: sumOfSquares(optimizer.slice, ofSum: gradientSources))
      try requireFinite(norm, step: optimizer.step + 1)
      _ = update(learningRate, scale: min(1, maxGradientNorm / (norm + 1e-6)))
      finish(.optimizer, &clock)
      // Nobody goes on before all slices of the shared weights are new.
      if model.isShared { try communicator.barrier() }
    } else {
      let squares = update(learningRate, scale: 1)
      finish(.optimizer, &clock)
      norm = try gradientNorm(squares: squares)
      try requireFinite(norm, step: optimizer.step)
    }
    finish(.waiting, &clock)
    let loss = losses.reduce(0, +) / Double(windowRows)
    windowLossSum = 0
    windowRows = 0
    stepSeconds = windowSeconds
    totalSeconds += stepSeconds
    timeline?.endStep()
    windowSeconds = StepSeconds()
    communicator.noteStep(optimizer.step)
    return StepReport(
      step: optimizer.step, loss: loss, gradientNorm: norm, learningRate: learningRate,
      isAskedToStop: shares.contains { $0[1] != 0 })
  }

  /// How exact the products are.
  public var precision: ProductPrecision { network.multiplier.precision }

  private func finish(_ part: StepPart, _ clock: inout LapClock) {
    let span = clock.add(to: &windowSeconds[part])
    timeline?.add(part, span)
  }

  private var sharesGradients: Bool { gradientSources.count == communicator.size }

  private func update(_ learningRate: Double, scale: Double) -> Double {
    optimizer.apply(
      parameters: model.parameters.pointer, gradients: gradientSources, learningRate: learningRate,
      gradientScale: scale)
  }

  /// The norm from this rank's part of the squares; where slices are shared, also the sign that all are through.
  private func gradientNorm(squares: Double) throws(Failure) -> Double {
    (model.isShared ? try communicator.sum(squares) : squares).squareRoot()
  }

  /// Logits, predictions and losses of a data set, every row exactly once, counted over all ranks.
  ///
  /// - Parameters:
  ///   - batchSize: rows of a batch of one rank. Where rows are short, more of them share a batch: as many as have no
  ///     more tokens than `batchSize` of the longest.
  public func evaluate(_ dataset: TokenizedDataset, batchSize: Int) throws(Failure) -> ClassificationCounts {
    var clock = LapClock()
    defer {
      // Apart: behind `?.` it would not be counted without a timeline.
      let span = clock.add(to: &evaluationSeconds)
      timeline?.addEvaluation(span)
    }
    let (rank, ranks) = (communicator.rank, communicator.size)
    let rows = dataset.count * rank / ranks..<dataset.count * (rank + 1) / ranks
    var counts = ClassificationCounts()
    let evaluator = evaluationNetwork(for: dataset, batchSize: batchSize)
    var start = rows.lowerBound
    while start < rows.upperBound {
      let end = evaluator.limits.end(ofBatchFrom: start, in: dataset, before: rows.upperBound)
      batch.fill(from: dataset, rows: Array(start..<end))
      batch.withPackedInput { input in
        evaluator.forward(input, parameters: model.parameters.pointer)
        counts.lossSum += evaluator.loss(of: batch, gradientScale: 1)
        counts.add(batch, logits: evaluator.logits)
      }
      start = end
    }
    return ClassificationCounts(doubles: try communicator.sum(counts.asDoubles))
  }

  private func evaluationNetwork(for dataset: TokenizedDataset, batchSize: Int) -> BertClassifier {
    let limits = BatchLimits(
      tokens: dataset.mostTokens(inRows: batchSize), sequences: 4 * batchSize, length: dataset.longestRow)
    if let known = evaluationNetwork, known.limits.holds(limits) { return known }
    let multiplier = Multiplier(precision, isForEvaluation: true, threads: network.multiplier.threads)
    let made = BertClassifier(model.configuration, limits: limits, keepsForBackward: false, multiplier: multiplier)
    evaluationNetwork = made
    return made
  }

  private func requireFinite(_ norm: Double, step: Int) throws(Failure) {
    if norm.isFinite { return }
    let tensor = model.layout.slots.first { !sumOfSquares($0.range, ofSum: gradientSources).isFinite }
    try refuse("the gradient of \(tensor?.name ?? "all tensors together") became \(named(norm)) at step \(step)")
  }

  /// A number that is not finite, without the sign that a NaN may have.
  private func named(_ value: Double) -> String { value.isNaN ? "NaN" : "\(value)" }

  /// Every rank knows the same, so all end in order and one line is printed.
  private func refuse(_ message: String) throws(Failure) {
    try communicator.agree { () throws(Failure) in
      throw Failure(.badData, message, hint: "a lower learning rate or --max-grad-norm 1 may help")
    }
  }
}

/// This rank's slice of `count` parameters; slices begin at multiples of 1,024, so that no two ranks write one cache line.
private func slice(of count: Int, _ communicator: any Communicator) -> Range<Int> {
  let blocks = (count + 1023) / 1024
  let start = blocks * communicator.rank / communicator.size * 1024
  let end = blocks * (communicator.rank + 1) / communicator.size * 1024
  return min(start, count)..<min(end, count)
}

extension BatchLimits {
  /// The end of the longest batch from row `start` on that keeps to these limits, before `last` at the latest.
  func end(ofBatchFrom start: Int, in dataset: TokenizedDataset, before last: Int) -> Int {
    var end = start
    while end < last, end - start < sequences, dataset.offsets[end + 1] - dataset.offsets[start] <= tokens { end += 1 }
    precondition(end > start || start == last, "row \(start) has more tokens than a batch holds")
    return end
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
