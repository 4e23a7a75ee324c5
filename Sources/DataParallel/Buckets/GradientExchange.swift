import Collectives
import Kernels
import Synchronization
import System

/// The sum of a step's gradients over hosts, bucket by bucket as backward finishes them, and an update with each sum.
///
/// The ranks of a host see one memory. A rank in a peer group adds up its host's gradients of its part of a bucket, sums them
/// with its peers, and updates the host's weights; see `ExchangePlan` and `InterHostAllReduce`. Of the word table only rows
/// travel that a token of this step touches on any rank: which they are, and every rank's loss, the hosts tell one another
/// when the last forward of a step is through.
///
/// The computing thread begins a step and says how far backward is; `pump`, which one thread calls, mostly one of its own,
/// moves the step on. What they tell one another is in the mailboxes and in `ExchangeSignals`; all else is the pump's, behind
/// a lock that nobody waits for: the computing thread asks between steps.
final class GradientExchange: Sendable {
  /// Whether this rank has a part in the sums.
  let isInPeerGroup: Bool
  private let signals = ExchangeSignals()
  private let mailboxes: [StepMailbox]
  private let own: StepMailbox
  private let count: Int
  /// The last step that was begun.
  private let step = Atomic<Int>(0)
  private let pumping: Mutex<Pumping>

  /// Unchecked, because the lock around it lets one thread at a time to it.
  private struct Pumping: @unchecked Sendable {
    let pump: ExchangePump
  }

  /// - Parameters:
  ///   - gradients: what this rank sees.
  ///   - updatesLater: sums only, and updates nothing.
  init(
    _ groups: HostTopology, _ channel: any PointToPointChannel, _ layout: GradientLayout, plan: ExchangePlan,
    bucketFloats: Int, wire: WirePrecision, update: any ParameterUpdate, parameters: FloatBuffer,
    gradients: GradientMemory, updatesLater: Bool
  ) {
    isInPeerGroup = groups.isInPeerGroup
    mailboxes = gradients.mailboxes
    own = gradients.mailbox
    count = layout.count
    own.reset()
    pumping = Mutex(
      Pumping(
        pump: ExchangePump(
          groups, channel, layout, plan: plan, bucketFloats: bucketFloats, wire: wire, update: update,
          parameters: parameters, gradients: gradients, updatesLater: updatesLater, signals)))
  }

  // MARK: The computing thread

  /// Begins a step, when its last forward is through and the rank's mailbox tells the touched rows; the step before is
  /// finished.
  func begin(step: Int, header: StepHeader) {
    pumping.withLock { $0.pump.begin(step: step) }
    self.step.store(step, ordering: .releasing)
    own.header = header
    own.headerStep = step
  }

  private var present: Int { step.load(ordering: .acquiring) }

  /// All gradients of this rank from `offset` on are final.
  func advance(to offset: Int) { own.finalMark = StepMailbox.mark(step: present, offset: offset, of: count) }

  /// Every rank's loss and wish to stop, by rank; nil while they are not all there.
  func heard(ranks: Int) -> [StepHeader]? {
    guard mailboxes[0].heardStep == present else { return nil }
    return (0..<ranks).map { mailboxes[0].heard[$0] }
  }

  /// The weights may change once all ranks of the host have said so: one may still compute with them, beside the training.
  func permitUpdate() { own.permittedStep = present }

  /// The sums of this step are applied by somebody else, when the norm is known, or not at all.
  func leaveUpdate() { signals.leaveUpdate(of: present) }

  /// Whether all sums of this rank's parts are there.
  var isSummed: Bool { signals.isSummed(present) }

  /// Whether all is done that this rank does in a step.
  var isFinished: Bool { signals.isFinished(present) }

  var moveCount: Int { signals.moveCount }

  /// The rows whose sums this rank's gradients hold, when it is finished.
  var touched: TouchedEmbeddingRows { pumping.withLock { $0.pump.touched } }

  /// Σ g² over this rank's parts, when it is finished.
  var sumOfSquares: Double { pumping.withLock { $0.pump.sumOfSquares } }

  /// The first gradient of this host's ranks that was not a finite number before it was summed, when it is finished.
  var badSource: ExchangePump.BadSource? { pumping.withLock { $0.pump.badSource } }

  /// Moves what rounding has lost on a group to `whole`, or back; between steps.
  func moveResiduals(
    ofGroup group: Int, whole: UnsafeMutablePointer<Float>?, isGather: Bool, _ link: any PointToPointChannel
  ) throws(Failure) {
    // The pump does not keep it.
    nonisolated(unsafe) let whole = whole
    try pumping.withLock { (pumping) throws(Failure) in
      try pumping.pump.moveResiduals(ofGroup: group, whole: whole, isGather: isGather, link)
    }
  }

  /// Forgets what rounding on the wire has lost so far; between steps.
  func forgetResiduals() { pumping.withLock { $0.pump.forgetResiduals() } }

  /// What this rank sent in the last step, when it is finished.
  var transfer: Transfer { pumping.withLock { $0.pump.transfer } }

  // MARK: The pumping thread

  /// Moves what can be moved; false where nothing could.
  func pump() throws(Failure) -> Bool {
    try pumping.withLock { (pumping) throws(Failure) in try pumping.pump.pump() }
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
