import BERT
import Collectives
import Kernels
import System

extension TrainingEngine {
  /// What is known of a window's gradients before they are applied.
  struct Measured {
    var heads: [StepMailbox.Header]
    var norm: Double
    /// The norm that the gradient is scaled down to.
    var most: Double
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
    precondition(rowsInStep > 0, "step without backward")
    var clock = LapClock()
    if measured == nil, let maxGradientNorm { measured = try measure(most: maxGradientNorm, &clock) }
    let (heads, norm) =
      if let measured {
        try applyClipped(measured, learningRate, &clock)
      } else if let exchange {
        try stepOverHosts(exchange, learningRate, &clock)
      } else {
        try stepOnHost(learningRate, &clock)
      }
    measured = nil
    finish(.waiting, &clock)
    let loss = heads.reduce(0) { $0 + $1.lossSum } / Double(rowsInStep)
    windowLossSum = 0
    rowsInStep = 0
    stepSeconds = windowSeconds
    totalSeconds += stepSeconds
    timeline?.endStep()
    windowSeconds = StepSeconds()
    communicator.noteStep(optimizer.step)
    return StepReport(
      step: optimizer.step, loss: loss, gradientNorm: norm, learningRate: learningRate,
      isAskedToStop: heads.contains { $0.stop != 0 })
  }

  /// Sums the gradients of the window over the ranks and settles that the next `step` scales them down to the norm `most`
  /// where theirs is larger. Called by all ranks, after the window's last backward.
  ///
  /// - Returns: the norm before clipping, the same on every rank.
  public func clipGradientNorm(_ most: Double) throws(Failure) -> Double {
    precondition(rowsInStep > 0, "clipping without backward")
    var clock = LapClock()
    guard let known = measured else {
      let found = try measure(most: most, &clock)
      measured = found
      return found.norm
    }
    measured?.most = min(known.most, most)
    return known.norm
  }

  private func measure(most: Double, _ clock: inout LapClock) throws(Failure) -> Measured {
    let heads: [StepMailbox.Header]
    let squares: Double
    if let exchange {
      heads = try finishExchange(exchange, updates: nil, &clock)
      squares = groups.own == 0 && groups.isInPeerGroup ? exchange.exchange.sumOfSquares : 0
    } else {
      heads = try gatherHeads(&clock)
      squares = optimizer.parts.indices.reduce(0) {
        $0 + optimizer.sumOfSquares(part: $1, gradients: gradientSources, touched: touched)
      }
    }
    let norm = try gradientNorm(squares: squares)
    try requireFinite(norm, step: optimizer.step + 1)
    return Measured(heads: heads, norm: norm, most: most)
  }

  private func applyClipped(
    _ measured: Measured, _ learningRate: Double, _ clock: inout LapClock
  ) throws(Failure) -> (heads: [StepMailbox.Header], norm: Double) {
    _ = update(
      learningRate, exchange?.exchange.touched ?? touched, scale: min(1, measured.most / (measured.norm + 1e-6)))
    finish(.optimizer, &clock)
    // Nobody goes on before all parts of the shared weights are new.
    if model.isShared { try communicator.barrier() }
    return (measured.heads, measured.norm)
  }

  private func stepOnHost(
    _ learningRate: Double, _ clock: inout LapClock
  ) throws(Failure) -> (heads: [StepMailbox.Header], norm: Double) {
    let heads = try gatherHeads(&clock)
    let squares = update(learningRate, touched, scale: 1)
    finish(.optimizer, &clock)
    let norm = try gradientNorm(squares: squares)
    try requireFinite(norm, step: optimizer.step)
    return (heads, norm)
  }

  /// Every rank's loss, which is also the sign that every rank's gradients are there; and the rows that they touch.
  private func gatherHeads(_ clock: inout LapClock) throws(Failure) -> [StepMailbox.Header] {
    let heads = try communicator.allGather([windowLossSum, communicator.isRankAskedToStop ? 1 : 0])
      .map { StepMailbox.Header(lossSum: $0[0], stop: $0[1]) }
    try requireFinite(heads)
    finish(.waiting, &clock)
    touched.clear()
    for mailbox in model.store?.mailboxes ?? [mailbox.mailbox] { touched.formUnion(mailbox.touched) }
    finish(.communication, &clock)
    return heads
  }

  private func stepOverHosts(
    _ exchange: ExchangeThread, _ learningRate: Double, _ clock: inout LapClock
  ) throws(Failure) -> (heads: [StepMailbox.Header], norm: Double) {
    let heads = try finishExchange(exchange, updates: learningRate, &clock)
    // Every group has the same sums, so one of them counts.
    let squares = groups.own == 0 && groups.isInPeerGroup ? exchange.exchange.sumOfSquares : 0
    finish(.optimizer, &clock)
    let norm = try gradientNorm(squares: squares)
    try requireFinite(norm, step: optimizer.step)
    return (heads, norm)
  }

  /// Waits until the sums over hosts are there and, where there is a learning rate in `updates`, applied.
  private func finishExchange(
    _ exchange: ExchangeThread, updates: Double?, _ clock: inout LapClock
  ) throws(Failure) -> [StepMailbox.Header] {
    let sums = exchange.exchange
    // A rank without rows in the last micro-batch has not begun.
    beginExchange()
    sums.advance(to: 0)
    let heads = try communicator.waitingForExchange(count: model.layout.count) { () throws(Failure) in
      let heads = try exchange.wait { sums.heard(ranks: communicator.size) }
      finish(.waiting, &clock)
      let isFinite = heads.allSatisfy(\.lossSum.isFinite)
      if let updates, isFinite {
        optimizer.beginStep(learningRate: updates)
        sums.permitUpdate()
      } else if isFinite {
        sums.leaveUpdate()
      }
      try exchange.wait { sums.isSummed ? () : nil }
      finish(.communication, &clock)
      if isFinite { try exchange.wait { sums.isFinished ? () : nil } }
      return heads
    }
    exchangeHasBegun = false
    try requireFinite(heads)
    transferSeconds = sums.transferSeconds
    transferBytes = sums.transferBytes
    if transferSeconds > 0 { timeline?.addTransfer(sums.transferSpan) }
    return heads
  }

  private func update(_ learningRate: Double, _ touched: TouchedEmbeddingRows, scale: Double) -> Double {
    optimizer.apply(
      parameters: model.parameters.pointer, gradients: gradientSources, touched: touched, learningRate: learningRate,
      gradientScale: scale)
  }

  /// The norm from this rank's part of the squares; also the sign that all are through with theirs.
  private func gradientNorm(squares: Double) throws(Failure) -> Double {
    try communicator.sum(squares).squareRoot()
  }

  private func requireFinite(_ heads: [StepMailbox.Header]) throws(Failure) {
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
