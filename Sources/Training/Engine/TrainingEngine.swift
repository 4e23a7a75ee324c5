import BERT
import Batches
import Collectives
import DataParallel
import Datasets
import Kernels
import Reporting
import System

/// The training of one model by all ranks together: the same step everywhere, on gradients summed over the ranks.
///
/// The loss of each row counts 1 / (rows of the window over all ranks) before the sum, so that uneven shares and a short
/// last window need no correction.
public final class TrainingEngine {
  public let communicator: any Communicator
  public let model: Model
  public let optimizer: AdamWOptimizer
  /// The gradient is scaled down to this norm where it is longer; nil does not clip.
  public let maxGradientNorm: Double?
  public let seed: UInt64

  /// Whether only the head is trained, and the encoder's weights stay as they are.
  public let encoderIsFrozen: Bool

  private(set) var network: BertClassifier
  /// Steps so far that were left out, because the loss or the gradient was not a finite number.
  public internal(set) var skippedSteps = 0
  /// Steps so far, those left out included: the windows whose rows are behind the training.
  public var steps: Int { optimizer.step + skippedSteps }
  /// What is known of bad numbers in the present window.
  var badNumbers = BadNumbers()
  private let evaluator: Evaluator
  private let batch = PackedBatch()
  /// Adds up gradients over the ranks.
  let synchronizer: any GradientSynchronizer
  var windowLossSum = 0.0
  /// Rows of the present window over all ranks; 0 where no backward has begun one.
  public internal(set) var rowsInStep = 0
  var windowSeconds = StepSeconds()
  /// Where the time of the last step went on this rank, accumulated micro-batches included.
  public internal(set) var stepSeconds = StepSeconds()
  /// The same of all steps so far.
  public internal(set) var totalSeconds = StepSeconds()
  /// Seconds of the last step in which gradients were on their way between hosts, hidden or not.
  public var transferSeconds: Double { synchronizer.transfer.seconds }
  /// Bytes that this rank sent to other hosts in the last step.
  public var transferBytes: Int { synchronizer.transfer.bytes }
  /// When ranks compare their numbers. The same interval on every rank.
  public var lockstep = LockstepOptions()
  var takenSinceCheck = TakenSteps()
  /// What `clipGradientNorm` has found of the present window.
  var measured: Measured?
  /// Seconds of all evaluations so far on this rank.
  public private(set) var evaluationSeconds = 0.0
  /// Where every part of a step leaves its span; nil costs nothing.
  public var timeline: Timeline? {
    didSet { watchNetwork() }
  }

  /// - Parameters:
  ///   - model: the same weights on every rank.
  ///   - limits: the largest batch.
  ///   - precision: of the products, one that `isAvailable`.
  ///   - settings: how it computes and reaches the others.
  ///   - threads: this rank's; nil makes as many as the settings say.
  ///   - seed: of dropout.
  ///   - encoderIsFrozen: train the head only; nothing is computed, sent or kept for the rest.
  ///   - wire: how gradients travel between hosts.
  ///   - grouping: of the loader, for steps with the same bits on any number of ranks.
  public init(
    _ communicator: any Communicator, model: Model, optimizer: AdamWOptimizer.Options, limits: BatchLimits,
    precision: ProductPrecision = .high, settings: RankSettings = RankSettings(), threads: ThreadPool? = nil,
    seed: UInt64, maxGradientNorm: Double? = nil, encoderIsFrozen: Bool = false, wire: WirePrecision = .no,
    grouping: RowGroupPlan? = nil
  ) throws(Failure) {
    if grouping != nil { try Self.checkGroups(model, wire: wire, settings) }
    try MemoryNeed.training(model.configuration, limits: limits, ranksOnHost: communicator.localSize)
      .require(for: "the training", communicator)
    let threads = threads ?? ThreadPool(count: settings.threads)
    self.communicator = communicator
    self.model = model
    self.maxGradientNorm = maxGradientNorm
    self.encoderIsFrozen = encoderIsFrozen
    self.seed = seed
    network = BertClassifier(
      model.configuration, head: model.head, limits: limits,
      gemm: settings.gemm(precision, threads: threads, isRowIndependent: grouping != nil))
    evaluator = Evaluator(
      model.configuration, head: model.head,
      settings.gemm(precision, isForEvaluation: true, threads: threads, isRowIndependent: grouping != nil))
    batch.reserveCapacity(sequences: limits.sequences, tokens: limits.tokens)
    if let grouping {
      let bytes = Self.groupBytes(grouping, model, ranks: communicator.size)
      try MemoryNeed(rank: bytes, host: bytes * communicator.localSize)
        .require(for: "the gradients of groups of rows", communicator)
    }
    let options = SynchronizationOptions(
      wire: wire, overlaps: settings.overlapsSums, bucketBytes: settings.bucketBytes)
    (synchronizer, self.optimizer) = try makeGradientSynchronizer(
      model.memory, model.layout.gradients(encoderIsFrozen: encoderIsFrozen), options,
      updatesLater: maxGradientNorm != nil || optimizer.nonFinite == .skip, grouping: grouping.map { ($0, threads) },
      communicator
    ) { parts in AdamWOptimizer(model.layout, optimizer, threads: threads, parts: parts) }
  }

  private func watchNetwork() {
    network.partFinished = timeline.map { timeline in
      { part, pass in
        let span: Timeline.ModelSpan =
          switch part {
          case .embeddings: .embeddings
          case .layer(let index): .layer(index)
          case .head: .head
          }
        timeline.finished(span, isForward: pass == .forward)
      }
    }
  }

  /// Makes room for batches of `limits`, beside those that there is room for. Called by all ranks with the same limits.
  ///
  /// - Throws: `.unavailable` on all ranks where one of them lacks memory; nothing has changed then.
  public func reserve(_ limits: BatchLimits) throws(Failure) {
    if network.limits.holds(limits) { return }
    let old = network.limits
    let union = BatchLimits(
      tokens: max(old.tokens, limits.tokens), sequences: max(old.sequences, limits.sequences),
      length: max(old.length, limits.length))
    let bytes = BertClassifier.activationBytes(model.configuration, limits: union)
    try MemoryNeed(rank: bytes, host: bytes * communicator.localSize).require(for: "a batch", communicator)
    let gemm = network.gemm
    synchronizer.rounds?.areBuffersKnown = false
    network = BertClassifier(model.configuration, head: model.head, limits: union, gemm: gemm)
    watchNetwork()
  }

  /// Forward and backward of this rank's share; the gradients add up until `step`. The share's data set must fit the model
  /// (`TokenizedDataset.check(against:)`). Called by all ranks where steps may not depend on them.
  public func backward(_ microBatch: MicroBatch) throws(Failure) {
    if let problem = microBatch.dataset.problem(for: model.configuration) { preconditionFailure(problem) }
    if let rounds = synchronizer.rounds { return try backwardInGroups(microBatch, rounds) }
    guard !microBatch.rows.isEmpty else { return backwardOfNothing(rowsInStep: microBatch.rowsInStep) }
    var clock = LapClock()
    batch.fill(from: microBatch.dataset, rows: microBatch.rows)
    finish(.data, &clock)
    computeForward(batch)
    let lossSum = computeLoss(gradientScale: 1 / Double(microBatch.rowsInStep))
    finish(.forward, &clock)
    backward(batch, lossSum: lossSum, rowsInStep: microBatch.rowsInStep, isLastInStep: microBatch.isLastInStep, &clock)
  }

  // MARK: The same, one after the other

  /// Forward of a batch of this rank, with dropout. Its loss and `backward` come next.
  public func forward(_ batch: PackedBatch) {
    var clock = LapClock()
    computeForward(batch)
    finish(.forward, &clock)
  }

  /// Forward and backward by groups, of at least one row; the rows' losses.
  func computeInGroups(
    _ microBatch: MicroBatch, _ groups: RowGroups, _ rounds: any GradientRounds, _ clock: inout LapClock
  ) -> [Double] {
    batch.fill(from: microBatch.dataset, rows: microBatch.rows)
    finish(.data, &clock)
    computeForward(batch)
    badNumbers.add(rowsOf: batch)
    let lossSum = computeLoss(gradientScale: 1 / Double(microBatch.rowsInStep))
    if !lossSum.isFinite { noteBadLoss(batch) }
    finish(.forward, &clock)
    if !rounds.areBuffersKnown { network.forgetGroupedGradients() }
    rounds.areBuffersKnown = true
    synchronizer.touch(rows: UnsafeBufferPointer(start: batch.tokenIDs, count: batch.tokens))
    network.backward(
      parameters: model.parameters.pointer, groups: groups, into: rounds.buffers,
      encoderIsFrozen: encoderIsFrozen)
    finish(.backward, &clock)
    return network.rowLosses
  }

  private func computeForward(_ batch: PackedBatch) {
    badNumbers.rowInBatch = nil
    let plan = DropoutPlan(seed: seed, step: steps + 1)
    network.forward(batch, parameters: model.parameters.pointer, dropout: plan)
  }

  /// `[rows, labels]` of the last forward.
  public var logits: UnsafeBufferPointer<Float> { network.logits }

  /// The gradient of the last forward's logits, for a loss of the caller's own to fill.
  public var logitsGradient: UnsafeMutableBufferPointer<Float> { network.logitsGradient }

  /// The sum of the losses of the last forward's batch, not scaled; fills `logitsGradient`.
  ///
  /// - Parameter gradientScale: factor of each row's loss in the objective.
  public func loss(gradientScale: Double) -> Double {
    var clock = LapClock()
    defer { finish(.forward, &clock) }
    return computeLoss(gradientScale: gradientScale)
  }

  private func computeLoss(gradientScale: Double) -> Double {
    let sum = network.loss(gradientScale: gradientScale)
    if !sum.isFinite { badNumbers.rowInBatch = network.rowLosses.firstIndex { !$0.isFinite } }
    return sum
  }

  /// Backward of `batch`, that of the last forward, from `logitsGradient`; the gradients add up until `step`.
  ///
  /// - Parameters:
  ///   - lossSum: of this rank's rows.
  ///   - rowsInStep: rows of the whole window over all ranks, by which the sum of all losses is divided.
  ///   - isLastInStep: whether the gradients of this rank are final with it, so that they may travel.
  public func backward(_ batch: PackedBatch, lossSum: Double, rowsInStep rows: Int, isLastInStep: Bool) {
    var clock = LapClock()
    backward(batch, lossSum: lossSum, rowsInStep: rows, isLastInStep: isLastInStep, &clock)
  }

  private func backward(
    _ batch: PackedBatch, lossSum: Double, rowsInStep rows: Int, isLastInStep: Bool, _ clock: inout LapClock
  ) {
    let mode = beginMicroBatch(rows)
    badNumbers.add(rowsOf: batch)
    if !lossSum.isFinite { noteBadLoss(batch) }
    windowLossSum += lossSum
    synchronizer.touch(rows: UnsafeBufferPointer(start: batch.tokenIDs, count: batch.tokens))
    if isLastInStep { synchronizer.begin(header) }
    network.backward(
      parameters: model.parameters.pointer, gradients: synchronizer.gradients.pointer, mode,
      encoderIsFrozen: encoderIsFrozen, wordTableIsClear: true
    ) { [synchronizer] offset in
      if isLastInStep { synchronizer.advance(to: offset) }
    }
    finish(.backward, &clock)
  }

  /// What a rank does whose share of a micro-batch has no rows.
  public func backwardOfNothing(rowsInStep rows: Int) {
    guard beginMicroBatch(rows) == .overwrite else { return }
    synchronizer.gradients.pointer.update(repeating: 0, count: synchronizer.gradients.count)
  }

  private func beginMicroBatch(_ rows: Int) -> OutputMode {
    precondition(!synchronizer.hasBegun, "backward after the last micro-batch of a window, without step")
    let mode: OutputMode = rowsInStep == 0 ? .overwrite : .add
    // Losses so far count by the new number of rows.
    if mode == .add, rows != rowsInStep { windowLossSum *= Double(rows) / Double(rowsInStep) }
    rowsInStep = rows
    if mode == .overwrite { synchronizer.beginWindow() }
    return mode
  }

  /// Forgets the gradients of the present window. Not once they are on their way.
  public func discardWindow() {
    precondition(!synchronizer.hasBegun, "a window whose gradients are on their way")
    endWindow()
  }

  /// The next backward begins a window.
  func endWindow() {
    windowLossSum = 0
    rowsInStep = 0
    measured = nil
    badNumbers.reset()
  }

  /// What this rank says of the window, when its last forward is through.
  var header: StepHeader {
    // Where rows' losses are gathered, every rank knows the sum of all.
    let isCounted = synchronizer.rounds == nil || communicator.isMain
    return StepHeader(lossSum: isCounted ? windowLossSum : 0, stop: communicator.isRankAskedToStop ? 1 : 0)
  }

  /// How exact the products are.
  public var precision: ProductPrecision { network.gemm.precision }

  func finish(_ part: StepPart, _ clock: inout LapClock) {
    let span = clock.add(to: &windowSeconds[part])
    timeline?.add(part, span)
  }

  /// The losses and outputs of a data set with labels, every row exactly once; the same on every rank.
  ///
  /// - Parameters:
  ///   - batchSize: rows of a batch of one rank. Where rows are short, more of them share a batch: as many as have no
  ///     more tokens than `batchSize` of the longest.
  /// - Throws: `.badData` for rows that the model cannot take, or without a label of its kind.
  public func evaluate(_ dataset: TokenizedDataset, batchSize: Int) throws(Failure) -> Evaluation {
    try dataset.check(against: model.configuration)
    return try measuringEvaluation { () throws(Failure) in
      try evaluator.evaluate(
        dataset, hasLabels: true, batchSize: batchSize, parameters: model.parameters.pointer, communicator)
    }
  }

  /// As `evaluate`; nil on every rank where the user asked one of them to stop meanwhile.
  public func evaluateUnlessStopped(_ dataset: TokenizedDataset, batchSize: Int) throws(Failure) -> Evaluation? {
    try dataset.check(against: model.configuration)
    return try unlessStopped(dataset, hasLabels: true, batchSize)
  }

  /// The outputs for a data set, with labels or without, every row exactly once; the same on every rank, and nil on all where
  /// the user asked one of them to stop meanwhile.
  public func predictUnlessStopped(_ dataset: TokenizedDataset, batchSize: Int) throws(Failure) -> EvaluatedRows? {
    try dataset.check(against: model.configuration, withLabels: false)
    return try unlessStopped(dataset, hasLabels: false, batchSize)?.rows
  }

  private func unlessStopped(
    _ dataset: TokenizedDataset, hasLabels: Bool, _ batchSize: Int
  ) throws(Failure) -> Evaluation? {
    try measuringEvaluation { () throws(Failure) in
      try evaluator.evaluateUnlessStopped(
        dataset, hasLabels: hasLabels, batchSize: batchSize, parameters: model.parameters.pointer, communicator)
    }
  }

  private func measuringEvaluation<Value>(_ evaluate: () throws(Failure) -> Value) throws(Failure) -> Value {
    var clock = LapClock()
    defer {
      // Apart: behind `?.` it would not be counted without a timeline.
      let span = clock.add(to: &evaluationSeconds)
      timeline?.addEvaluation(span)
    }
    return try evaluate()
  }
}
