import Collectives
import Kernels
import System

/// What moves an exchange on: see `GradientExchange`. It belongs to the thread that pumps.
final class ExchangePump {
  private let groups: HostTopology
  private let channel: any PointToPointChannel
  private let plan: ExchangePlan
  private let parts: [Range<Int>]
  private let update: any ParameterUpdate
  private let parameters: FloatBuffer
  /// What keeps the memory that the pointers point to.
  private let owners: [AnyObject]
  /// Of every rank of the group; the sums overwrite this rank's own.
  private let gradients: [UnsafeMutablePointer<Float>]
  private let own: UnsafeMutablePointer<Float>
  private let mailboxes: [StepMailbox]
  private let count: Int
  private let bucketFloats: Int
  private let sum: InterHostAllReduce
  /// Of each part, one after the other; nil where nothing is rounded.
  private let residuals: FloatBuffer?
  private let residualOffsets: [Int]
  /// Whether sums are left to be applied by somebody else, when the norm is known.
  private let updatesLater: Bool
  private let signals: ExchangeSignals

  private var step = 0
  private let headers: StepHeaderExchange
  private var nextBucket = 0
  private var words: SparseGradientRows
  private var arePacked = false
  private var nextWordPiece = 0
  private var finishedWordPieces = 0
  private var ready: [Int] = []
  private var summedParts = 0
  private var updatedParts = 0
  /// Σ g² of each part.
  private var squares: [Double]
  private var lastPump = 0.0
  /// Met first in the order of backward.
  private(set) var badSource: BadSource?

  /// A gradient of one of this host's ranks that is not a finite number.
  struct BadSource: Sendable {
    var rank: Int
    /// Its place in the whole buffer.
    var offset: Int
  }
  private var bytesBefore = 0

  private var transferSeconds = 0.0
  private var transferSpan: ClosedRange<Double>?

  /// - Parameters:
  ///   - gradients: what this rank sees.
  ///   - updatesLater: sums only, and updates nothing.
  init(
    _ groups: HostTopology, _ channel: any PointToPointChannel, _ layout: GradientLayout, plan: ExchangePlan,
    bucketFloats: Int, wire: WirePrecision, update: any ParameterUpdate, parameters: FloatBuffer,
    gradients: GradientMemory, updatesLater: Bool, _ signals: ExchangeSignals
  ) {
    self.groups = groups
    self.signals = signals
    self.channel = channel
    self.plan = plan
    self.update = update
    self.parameters = parameters
    self.gradients = gradients.ofGroup
    mailboxes = gradients.mailboxes
    owners = gradients.owners + [gradients.own]
    self.bucketFloats = bucketFloats
    self.updatesLater = updatesLater
    own = gradients.own.pointer
    count = layout.count
    var offset = 0
    parts = plan.parts
    residualOffsets = parts.map { part in
      defer { offset += part.count }
      return offset
    }
    residuals = wire.rounds && groups.isInPeerGroup ? FloatBuffer(count: offset) : nil
    squares = Array(repeating: 0, count: parts.count)
    words = SparseGradientRows(plan.words, columns: plan.columns, rounds: wire.rounds)
    sum = InterHostAllReduce(
      channel, groups, wire: wire, mostFloats: plan.mostFloats(bucketFloats),
      slots: groups.isInPeerGroup ? InterHostAllReduce.usualSlots : 0)
    headers = StepHeaderExchange(groups, channel, mailboxes, layout)
  }

  /// What this rank sent in the last step.
  var transfer: Transfer {
    Transfer(seconds: transferSeconds, span: transferSpan, bytes: sum.sentBytes - bytesBefore)
  }

  /// The rows whose sums this rank's gradients hold.
  var touched: TouchedEmbeddingRows { headers.touched }

  /// Σ g² over this rank's parts.
  var sumOfSquares: Double { squares.reduce(0, +) }

  /// Forgets the step before, which is finished.
  func begin(step: Int) {
    self.step = step
    nextBucket = 0
    arePacked = false
    nextWordPiece = 0
    finishedWordPieces = 0
    ready.removeAll(keepingCapacity: true)
    summedParts = 0
    updatedParts = 0
    transferSeconds = 0
    transferSpan = nil
    lastPump = LapClock.now()
    bytesBefore = sum.sentBytes
    badSource = nil
    headers.begin()
  }

  /// Moves what can be moved; false where nothing could.
  func pump() throws(Failure) -> Bool {
    let now = LapClock.now()
    if sum.isBusy {
      transferSeconds += now - lastPump
      transferSpan = (transferSpan?.lowerBound ?? lastPump)...now
    }
    lastPump = now
    guard groups.isInPeerGroup else {
      // It hears of others that have failed.
      try channel.poll()
      signals.setFinished(step)
      signals.setSummed(step)
      return true
    }
    var moved = try headers.advance(step: step)
    while nextBucket < plan.buckets.count, sum.hasRoom, isFinal(plan.buckets[nextBucket].finalOffset) {
      try beginBucket(nextBucket)
      nextBucket += 1
      moved = true
    }
    if nextBucket == plan.buckets.count, headers.isDone, !arePacked, isFinal(0) {
      packWords()
      moved = true
    }
    while arePacked, nextWordPiece < wordPieces, sum.hasRoom {
      try beginWordPiece(nextWordPiece)
      nextWordPiece += 1
      moved = true
    }
    if try sum.pump({ finished(bucket: $0) }) { moved = true }
    if !ready.isEmpty, !updatesLater, mailboxes.allSatisfy({ $0.permittedStep == step }) {
      // One at a time: what arrives meanwhile need not wait for all of them.
      let part = ready.removeLast()
      squares[part] = update.apply(
        part: part, parameters: parameters.pointer, gradients: [UnsafePointer(own)], touched: headers.touched,
        usesThreads: false)
      updatedParts += 1
      moved = true
    }
    if !ready.isEmpty, signals.leaves(step) {
      let part = ready.removeLast()
      squares[part] = update.sumOfSquares(part: part, gradients: [UnsafePointer(own)], touched: headers.touched)
      updatedParts += 1
      moved = true
    }
    // With nothing on its way it still hears of others that have failed.
    if !moved, !sum.isBusy { try channel.poll() }
    if summedParts == parts.count {
      signals.setSummed(step)
      if updatesLater || updatedParts == parts.count { signals.setFinished(step) }
    }
    if moved { signals.noteMove() }
    return moved
  }

  /// Whether the gradients from `offset` on are final on all ranks of the group.
  private func isFinal(_ offset: Int) -> Bool {
    let needed = StepMailbox.mark(step: step, offset: offset, of: count)
    return mailboxes.allSatisfy { $0.finalMark >= needed }
  }

  private func beginBucket(_ index: Int) throws(Failure) {
    let range = plan.buckets[index].range
    for source in gradients where source != own {
      Kernels.add(count: range.count, source + range.lowerBound, to: own + range.lowerBound)
    }
    noteBad(range, sum: own + range.lowerBound)
    try sum.begin(
      index, own + range.lowerBound, residual: residuals.map { $0.pointer + residualOffsets[index] },
      count: range.count)
  }

  private func finished(bucket: Int) {
    guard bucket >= plan.buckets.count else { return finished(part: bucket) }
    finishedWordPieces += 1
    if finishedWordPieces == wordPieces { finishWords() }
  }

  private func finished(part: Int) {
    summedParts += 1
    if updatesLater {
      squares[part] = update.sumOfSquares(part: part, gradients: [UnsafePointer(own)], touched: headers.touched)
    } else {
      ready.append(part)
    }
  }

  // MARK: What rounding has lost

  /// Forgets it.
  func forgetResiduals() { residuals?.buffer.update(repeating: 0) }

  /// Copies that of a group to `whole`, which the first group's ranks see, or back. Ranks of one place have the same parts
  /// on all groups, so each passes its own on to the one of the first.
  func moveResiduals(
    ofGroup group: Int, whole: UnsafeMutablePointer<Float>?, isGather: Bool, _ link: any PointToPointChannel
  ) throws(Failure) {
    guard let residuals, groups.own == 0 || groups.own == group else { return }
    for (part, offset) in zip(parts, residualOffsets) where !part.isEmpty {
      let own = residuals.pointer + offset
      if group == 0 {
        guard let whole else { return }
        let (from, to) = isGather ? (own, whole + part.lowerBound) : (whole + part.lowerBound, own)
        to.update(from: from, count: part.count)
        continue
      }
      guard let place = groups.own == 0 ? whole.map({ $0 + part.lowerBound }) : own else { return }
      let bytes = UnsafeMutableRawBufferPointer(
        start: place, count: part.count * MemoryLayout<Float>.stride)
      let peer = groups.ranks[groups.own == 0 ? group : 0][groups.place]
      let isSender = isGather == (groups.own != 0)
      let message =
        isSender
        ? try link.send(UnsafeRawBufferPointer(bytes), to: peer, tag: 0) : try link.receive(bytes, from: peer, tag: 0)
      try link.wait(for: message)
    }
  }

  // MARK: Bad numbers

  /// Notes a bad number of this host's ranks in `range`, before sums over hosts overwrite it.
  ///
  /// - Parameter sum: of the host's gradients, from the range's start.
  private func noteBad(_ range: Range<Int>, sum: UnsafePointer<Float>) {
    guard badSource == nil, !Kernels.sumOfSquares(count: range.count, sum).isFinite else { return }
    // This rank's own may be the sum by now; where another's is bad, it is that one's.
    let place =
      gradients.firstIndex { $0 != own && !Kernels.sumOfSquares(count: range.count, $0 + range.lowerBound).isFinite }
      ?? groups.place
    let source = gradients[place]
    let offset = range.last { !(source[$0] * source[$0]).isFinite } ?? range.upperBound - 1
    badSource = BadSource(rank: groups.ranks[groups.own][place], offset: offset)
  }

  // MARK: Rows of the word table, the last part

  private var wordResiduals: UnsafeMutablePointer<Float>? {
    residuals.map { $0.pointer + residualOffsets[residualOffsets.count - 1] }
  }

  private var wordPieces: Int { (words.count + bucketFloats - 1) / bucketFloats }

  private func packWords() {
    words.pack(headers.touched.bits, gradients, residuals: wordResiduals)
    arePacked = true
    for (index, row) in words.rows.enumerated() {
      noteBad(row * plan.columns..<(row + 1) * plan.columns, sum: words.values.pointer + index * plan.columns)
    }
    if words.count == 0 { finishWords() }
  }

  private func beginWordPiece(_ piece: Int) throws(Failure) {
    let start = piece * bucketFloats
    try sum.begin(
      plan.buckets.count + piece, words.values.pointer + start,
      residual: words.residuals.map { $0.pointer + start }, count: min(bucketFloats, words.count - start))
  }

  private func finishWords() {
    words.unpack(into: own, residuals: wordResiduals)
    finished(part: parts.count - 1)
  }
}
