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
  private let evaluator: Evaluator
  private var batch = Batch()
  /// This rank's gradients.
  private let gradients: FloatBuffer
  /// Whose sum over this rank's parts is the gradient of the whole batch: every rank's where all see one memory, else
  /// this rank's, which the exchange overwrites with sums.
  private let gradientSources: [UnsafePointer<Float>]
  /// Sums gradients over ranks that do not see one memory.
  private let exchange: ExchangeThread?
  private let groups: RankGroups
  private let board: OwnBoard
  /// The rows that the ranks of this host touch in a step.
  private var touched: WordRows
  private var areWordGradientsClear = false
  private var windowLossSum = 0.0
  private var windowRows = 0
  private var windowSeconds = StepSeconds()
  /// Where the time of the last step went on this rank, accumulated micro-batches included.
  public private(set) var stepSeconds = StepSeconds()
  /// The same of all steps so far.
  public private(set) var totalSeconds = StepSeconds()
  /// Seconds of the last step in which gradients were on their way between hosts, hidden or not; and the bytes that this
  /// rank sent.
  public private(set) var transferSeconds = 0.0
  public private(set) var transferBytes = 0
  /// Whether the gradients of the present window are on their way.
  private var exchangeHasBegun = false
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
  ///   - wire: how gradients travel between hosts.
  public init(
    _ communicator: any Communicator, model: Model, optimizer: AdamW.Options, limits: BatchLimits,
    precision: ProductPrecision = .high, threads: ThreadPool = ThreadPool(count: Hardware.threads), seed: UInt64,
    maxGradientNorm: Double? = nil, wire: WirePrecision = .no
  ) throws(Failure) {
    try MemoryNeed.training(model.configuration, limits: limits, ranksOnHost: communicator.localSize)
      .require(for: "the training", communicator)
    self.communicator = communicator
    self.model = model
    self.maxGradientNorm = maxGradientNorm
    self.seed = seed
    network = BertClassifier(model.configuration, limits: limits, multiplier: Multiplier(precision, threads: threads))
    evaluator = Evaluator(model.configuration, precision, threads: threads)
    batch.reserveCapacity(rows: limits.sequences, tokens: limits.tokens)
    let layout = model.layout
    groups =
      if model.isShared { try RankGroups(hostsOf: communicator) } else { RankGroups(singlesOf: communicator) }
    gradients =
      model.store.map { FloatBuffer(borrowing: $0.gradients[communicator.localRank]) }
      ?? FloatBuffer(count: layout.count)
    let memory = model.store?.gradients.compactMap(\.baseAddress) ?? [gradients.pointer]
    board = OwnBoard(layout, ranks: communicator.size, in: model.store, communicator)
    touched = WordRows(layout)
    guard groups.count > 1 else {
      gradientSources = memory.map { UnsafePointer($0) }
      self.optimizer = AdamW(layout, optimizer, threads: threads, parts: [slice(of: layout.count, groups)])
      exchange = nil
      return
    }
    gradientSources = [UnsafePointer(gradients.pointer)]
    let link = try communicator.makeLink()
    let bucketFloats = try BucketSize.floats(
      layout, groups, link, wire: wire, scratch: gradients.pointer, communicator)
    let plan = ExchangePlan(layout, groups, bucketFloats: bucketFloats)
    self.optimizer = AdamW(layout, optimizer, threads: threads, parts: plan.parts)
    exchange = ExchangeThread(
      GradientExchange(
        groups, link, layout, plan: plan, bucketFloats: bucketFloats, wire: wire, optimizer: self.optimizer,
        parameters: model.parameters.pointer, gradients: memory, boards: model.store?.boards ?? [board.board],
        leavesUpdate: maxGradientNorm != nil),
      communicator, overlaps: processVariable("LOCKSTEP_OVERLAP") != "off" && communicator.linksMayBeUsedByOtherThreads)
    // Nobody tells a step before all have forgotten those of an earlier training.
    try communicator.barrier()
  }

  /// Forward and backward of this rank's share; the gradients add up until `step`. The share's data set must fit the model
  /// (`TokenizedDataset.check(against:)`).
  public func backward(_ share: Share) {
    precondition(!exchangeHasBegun, "backward after the last micro-batch of a window, without step")
    if let problem = share.dataset.problem(for: model.configuration) { preconditionFailure(problem) }
    let mode: OutputMode = windowRows == 0 ? .overwrite : .add
    windowRows = share.windowRows
    if mode == .overwrite { clearWordGradients() }
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
      board.touch(input)
      if share.endsWindow { beginExchange() }
      let exchange = share.endsWindow ? self.exchange : nil
      network.backward(
        parameters: model.parameters.pointer, gradients: gradients.pointer, mode, wordTableIsClear: true
      ) { offset in
        exchange?.exchange.advance(to: offset)
      }
      finish(.backward, &clock)
    }
  }

  /// Clears what the last window has left in the gradients of the word table; at first, all of it.
  private func clearWordGradients() {
    let table = model.layout.wordTable.range
    if areWordGradientsClear {
      touched.clear()
      touched.formUnion(board.board.touched)
      if let exchange, exchange.exchange.hasLane { touched.formUnion(exchange.exchange.touched.bits) }
      touched.forEachRun(in: table) { rows, isTouched in
        if isTouched { (gradients.pointer + rows.lowerBound).update(repeating: 0, count: rows.count) }
      }
    } else {
      (gradients.pointer + table.lowerBound).update(repeating: 0, count: table.count)
      areWordGradientsClear = true
    }
    board.clear()
  }

  private func beginExchange() {
    guard let exchange, !exchangeHasBegun else { return }
    exchangeHasBegun = true
    exchange.begin(
      step: optimizer.step + 1,
      head: Board.Head(lossSum: windowLossSum, stop: communicator.isRankAskedToStop ? 1 : 0))
  }

  /// Sums the gradients over the ranks and takes one optimizer step, the same on every rank.
  ///
  /// Where all ranks see one memory, each adds up and applies its slice of the parameters, in one pass; else what is left
  /// of the exchange is waited for, which applies the sums as they come in.
  ///
  /// - Throws: `.badData` on every rank where the loss or the gradient is not a finite number. Nothing is updated then,
  ///   but where only the gradient is bad and the norm is not clipped: the weights are of no use any more.
  @discardableResult
  public func step(learningRate: Double) throws(Failure) -> StepReport {
    precondition(windowRows > 0, "step without backward")
    var clock = LapClock()
    let (heads, norm) =
      if let exchange { try stepOverHosts(exchange, learningRate, &clock) } else {
        try stepOnHost(learningRate, &clock)
      }
    finish(.waiting, &clock)
    let loss = heads.reduce(0) { $0 + $1.lossSum } / Double(windowRows)
    windowLossSum = 0
    windowRows = 0
    stepSeconds = windowSeconds
    totalSeconds += stepSeconds
    timeline?.endStep()
    windowSeconds = StepSeconds()
    communicator.noteStep(optimizer.step)
    return StepReport(
      step: optimizer.step, loss: loss, gradientNorm: norm, learningRate: learningRate,
      isAskedToStop: heads.contains { $0.stop != 0 })
  }

  private func stepOnHost(
    _ learningRate: Double, _ clock: inout LapClock
  ) throws(Failure) -> (heads: [Board.Head], norm: Double) {
    // Also the sign that every rank's gradients are there.
    let heads = try communicator.allGather([windowLossSum, communicator.isRankAskedToStop ? 1 : 0])
      .map { Board.Head(lossSum: $0[0], stop: $0[1]) }
    try requireFinite(heads)
    finish(.waiting, &clock)
    touched.clear()
    for board in model.store?.boards ?? [board.board] { touched.formUnion(board.touched) }
    finish(.communication, &clock)
    let norm: Double
    if let maxGradientNorm {
      norm = try gradientNorm(
        squares: optimizer.parts.indices.reduce(0) {
          $0 + optimizer.sumOfSquares(part: $1, gradients: gradientSources, touched: touched)
        })
      try requireFinite(norm, step: optimizer.step + 1)
      try clip(norm, to: maxGradientNorm, learningRate, &clock)
    } else {
      let squares = update(learningRate, touched, scale: 1)
      finish(.optimizer, &clock)
      norm = try gradientNorm(squares: squares)
      try requireFinite(norm, step: optimizer.step)
    }
    return (heads, norm)
  }

  private func stepOverHosts(
    _ exchange: ExchangeThread, _ learningRate: Double, _ clock: inout LapClock
  ) throws(Failure) -> (heads: [Board.Head], norm: Double) {
    let sums = exchange.exchange
    // A rank without rows in the last micro-batch has not begun.
    beginExchange()
    sums.advance(to: 0)
    let heads = try communicator.waitingForExchange(count: model.layout.count) { () throws(Failure) in
      let heads = try exchange.wait { sums.heard(ranks: communicator.size) }
      finish(.waiting, &clock)
      let isFinite = heads.allSatisfy(\.lossSum.isFinite)
      if isFinite && maxGradientNorm == nil {
        optimizer.beginStep(learningRate: learningRate)
        sums.permitUpdate()
      }
      try exchange.wait { sums.isSummed ? () : nil }
      finish(.communication, &clock)
      if isFinite { try exchange.wait { sums.isFinished ? () : nil } }
      return heads
    }
    exchangeHasBegun = false
    try requireFinite(heads)
    // Every group has the same sums, so one of them counts.
    let squares = groups.own == 0 && groups.hasLane ? sums.sumOfSquares : 0
    transferSeconds = sums.transferSeconds
    transferBytes = sums.transferBytes
    if transferSeconds > 0 { timeline?.addTransfer(sums.transferSpan) }
    finish(.optimizer, &clock)
    let norm = try communicator.sum(squares).squareRoot()
    if let maxGradientNorm {
      try requireFinite(norm, step: optimizer.step + 1)
      try clip(norm, to: maxGradientNorm, learningRate, &clock)
    } else {
      try requireFinite(norm, step: optimizer.step)
    }
    return (heads, norm)
  }

  private func clip(
    _ norm: Double, to most: Double, _ learningRate: Double, _ clock: inout LapClock
  ) throws(Failure) {
    _ = update(learningRate, exchange?.exchange.touched ?? touched, scale: min(1, most / (norm + 1e-6)))
    finish(.optimizer, &clock)
    // Nobody goes on before all parts of the shared weights are new.
    if model.isShared { try communicator.barrier() }
  }

  /// How exact the products are.
  public var precision: ProductPrecision { network.multiplier.precision }

  private func finish(_ part: StepPart, _ clock: inout LapClock) {
    let span = clock.add(to: &windowSeconds[part])
    timeline?.add(part, span)
  }

  private func update(_ learningRate: Double, _ touched: WordRows, scale: Double) -> Double {
    optimizer.apply(
      parameters: model.parameters.pointer, gradients: gradientSources, touched: touched, learningRate: learningRate,
      gradientScale: scale)
  }

  /// The norm from this rank's part of the squares; also the sign that all are through with theirs.
  private func gradientNorm(squares: Double) throws(Failure) -> Double {
    try communicator.sum(squares).squareRoot()
  }

  /// Logits, predictions and losses of a data set, every row exactly once, counted over all ranks.
  ///
  /// - Parameters:
  ///   - batchSize: rows of a batch of one rank. Where rows are short, more of them share a batch: as many as have no
  ///     more tokens than `batchSize` of the longest.
  public func evaluate(_ dataset: TokenizedDataset, batchSize: Int) throws(Failure) -> ClassificationCounts {
    try dataset.check(against: model.configuration)
    var clock = LapClock()
    defer {
      // Apart: behind `?.` it would not be counted without a timeline.
      let span = clock.add(to: &evaluationSeconds)
      timeline?.addEvaluation(span)
    }
    let (rank, ranks) = (communicator.rank, communicator.size)
    let rows = dataset.count * rank / ranks..<dataset.count * (rank + 1) / ranks
    let counts = evaluator(dataset, rows: rows, batchSize: batchSize, parameters: model.parameters.pointer)
    return ClassificationCounts(doubles: try communicator.sum(counts.asDoubles))
  }

  private func requireFinite(_ heads: [Board.Head]) throws(Failure) {
    guard let bad = heads.firstIndex(where: { !$0.lossSum.isFinite }) else { return }
    try refuse("the loss became \(named(heads[bad].lossSum)) at step \(optimizer.step + 1) on rank \(bad)")
  }

  private func requireFinite(_ norm: Double, step: Int) throws(Failure) {
    if norm.isFinite { return }
    // Each rank knows the sums of its parts only.
    let slots = model.layout.slots
    let own = slots.firstIndex { slot in
      optimizer.parts.contains { part in
        part.overlaps(slot.range) && !sumOfSquares(slot.range.clamped(to: part), ofSum: gradientSources).isFinite
      }
    }
    let first = try communicator.allGather(own ?? slots.count).min() ?? slots.count
    let name = first < slots.count ? slots[first].name : "all tensors together"
    try refuse("the gradient of \(name) became \(named(norm)) at step \(step)")
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
private func slice(of count: Int, _ groups: RankGroups) -> Range<Int> {
  let blocks = (count + 1023) / 1024
  let ranks = groups.ranks[groups.own].count
  let start = blocks * groups.place / ranks * 1024
  let end = blocks * (groups.place + 1) / ranks * 1024
  return min(start, count)..<min(end, count)
}
