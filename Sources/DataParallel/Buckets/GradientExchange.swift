import Collectives
import Kernels
import Synchronization
import System

/// The sum of a step's gradients over hosts, bucket by bucket as backward finishes them, and AdamW on each sum.
///
/// The ranks of a host see one memory. A rank in a peer group adds up its host's gradients of its part of a bucket, sums them
/// with its peers, and updates the host's weights; see `ExchangePlan` and `InterHostAllReduce`. Of the word table only rows
/// travel that a token of this step touches on any rank: which they are, and every rank's loss, the hosts tell one another
/// when the last forward of a step is through.
///
/// `pump` moves it on. One thread calls that, mostly one of its own.
///
/// Unchecked, because its fields change owner: what the computing thread and the pumping one tell one another is in the
/// mailboxes and in atomics, and all else belongs to the pumping thread from `begin` until `isFinished`.
final class GradientExchange: @unchecked Sendable {
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

  // MARK: What both threads see

  /// The step whose weights may be updated.
  private let permittedStep = Atomic<Int>(0)
  /// The step whose weights somebody else updates.
  private let leftStep = Atomic<Int>(0)
  private let summedStep = Atomic<Int>(0)
  private let finishedStep = Atomic<Int>(0)
  /// Grows when something moves.
  private let moves = Atomic<Int>(0)

  // MARK: What the pumping thread owns

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
  private var bytesBefore = 0

  private var transferSeconds = 0.0
  private var transferSpan: ClosedRange<Double>?

  /// - Parameters:
  ///   - gradients: what this rank sees.
  ///   - updatesLater: sums only, and updates nothing.
  init(
    _ groups: HostTopology, _ channel: any PointToPointChannel, _ layout: GradientLayout, plan: ExchangePlan,
    bucketFloats: Int, wire: WirePrecision, update: any ParameterUpdate, parameters: FloatBuffer,
    gradients: GradientMemory, updatesLater: Bool
  ) {
    self.groups = groups
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
    mailboxes[groups.place].reset()
  }

  /// What this rank sent in the last step, when it is finished.
  var transfer: Transfer {
    Transfer(seconds: transferSeconds, span: transferSpan, bytes: sum.sentBytes - bytesBefore)
  }

  /// Whether this rank has a part in the sums.
  var isInPeerGroup: Bool { groups.isInPeerGroup }

  // MARK: The computing thread

  /// Begins a step, when its last forward is through and the rank's mailbox tells the touched rows; the step before is
  /// finished.
  func begin(step: Int, header: StepHeader) {
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
    headers.begin()
    mailboxes[groups.place].header = header
    mailboxes[groups.place].headerStep = step
  }

  /// All gradients of this rank from `offset` on are final.
  func advance(to offset: Int) { mailboxes[groups.place].finalMark = mark(offset) }

  /// Every rank's loss and wish to stop, by rank; nil while they are not all there.
  func heard(ranks: Int) -> [StepHeader]? {
    guard mailboxes[0].heardStep == step else { return nil }
    return (0..<ranks).map { mailboxes[0].heard[$0] }
  }

  /// From now on the weights change.
  func permitUpdate() { permittedStep.store(step, ordering: .releasing) }

  /// The sums of this step are applied by somebody else, when the norm is known.
  func leaveUpdate() { leftStep.store(step, ordering: .releasing) }

  /// Whether all sums of this rank's parts are there.
  var isSummed: Bool { summedStep.load(ordering: .acquiring) == step }

  /// Whether all is done that this rank does in a step.
  var isFinished: Bool { finishedStep.load(ordering: .acquiring) == step }

  var moveCount: Int { moves.load(ordering: .relaxed) }

  /// The rows whose sums this rank's gradients hold, when it is finished.
  var touched: TouchedEmbeddingRows { headers.touched }

  /// Σ g² over this rank's parts, when it is finished.
  var sumOfSquares: Double { squares.reduce(0, +) }

  // MARK: The pumping thread

  /// Moves what can be moved; false where nothing could.
  func pump() throws(Failure) -> Bool {
    let now = LapClock.now()
    if sum.isBusy {
      transferSeconds += now - lastPump
      transferSpan = (transferSpan?.lowerBound ?? lastPump)...now
    }
    lastPump = now
    guard isInPeerGroup else {
      // It hears of others that have failed.
      try channel.poll()
      finishedStep.store(step, ordering: .releasing)
      summedStep.store(step, ordering: .releasing)
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
    if !ready.isEmpty, !updatesLater, permittedStep.load(ordering: .acquiring) == step {
      // One at a time: what arrives meanwhile need not wait for all of them.
      let part = ready.removeLast()
      squares[part] = update.apply(
        part: part, parameters: parameters.pointer, gradients: [UnsafePointer(own)], touched: headers.touched,
        usesThreads: false)
      updatedParts += 1
      moved = true
    }
    if !ready.isEmpty, leftStep.load(ordering: .acquiring) == step {
      let part = ready.removeLast()
      squares[part] = update.sumOfSquares(part: part, gradients: [UnsafePointer(own)], touched: headers.touched)
      updatedParts += 1
      moved = true
    }
    if summedParts == parts.count {
      summedStep.store(step, ordering: .releasing)
      if updatesLater || updatedParts == parts.count { finishedStep.store(step, ordering: .releasing) }
    }
    if moved { moves.add(1, ordering: .relaxed) }
    return moved
  }

  private func mark(_ offset: Int) -> Int { step << 40 | (count - offset + 1) }

  /// Whether the gradients from `offset` on are final on all ranks of the group.
  private func isFinal(_ offset: Int) -> Bool {
    let needed = mark(offset)
    return mailboxes.allSatisfy { $0.finalMark >= needed }
  }

  private func beginBucket(_ index: Int) throws(Failure) {
    let range = plan.buckets[index].range
    for source in gradients where source != own {
      Kernels.add(count: range.count, source + range.lowerBound, to: own + range.lowerBound)
    }
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

  // MARK: Rows of the word table, the last part

  private var wordResiduals: UnsafeMutablePointer<Float>? {
    residuals.map { $0.pointer + residualOffsets[residualOffsets.count - 1] }
  }

  private var wordPieces: Int { (words.count + bucketFloats - 1) / bucketFloats }

  private func packWords() {
    words.pack(headers.touched.bits, gradients, residuals: wordResiduals)
    arePacked = true
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

/// The most bytes that sums over hosts take on one of them besides the gradients: buckets on their way, ours and the
/// others', and what rounding on the wire has lost of each gradient. Rows of the word table, in which a step's tokens
/// count, are left out.
///
/// - Parameters:
///   - parameters: of the model.
///   - peerGroupCount: the ranks of the smallest host, which share the sums.
package func mostExchangeBytes(parameters: Int, peerGroupCount: Int, wire: WirePrecision) -> Int {
  let buckets =
    peerGroupCount * InterHostAllReduce.usualSlots * 2
    * BucketSize.mostBytes(summing: parameters / peerGroupCount, wire)
  return buckets + (wire.rounds ? parameters * MemoryLayout<Float>.stride : 0)
}
