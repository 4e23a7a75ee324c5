import Collectives
import Kernels
import System

/// The gradients of all ranks to one update, the same on every rank.
///
/// What trains calls it, on every rank alike, and does not know how sums come about. A window is all micro-batches between
/// two updates. Its calls, in order:
/// 1. `beginWindow`, before the window's first backward.
/// 2. `touch`, before each backward, which writes or adds to `gradients`.
/// 3. `begin`, before the window's last backward, and `advance` while that goes on. A rank without rows leaves both out.
/// 4. `reduce`, and `update` if it was told that the update comes later.
package protocol GradientSynchronizer: AnyObject {
  /// This rank's gradients `[layout.count]`.
  var gradients: FloatBuffer { get }
  /// Whether this rank's gradients are on their way: they must not change before `reduce`.
  var hasBegun: Bool { get }
  /// Memory `[layout.count]` that the ranks which see these weights have in common, for other use between steps: see
  /// `forgetGradients`.
  var common: FloatBuffer { get }
  /// Whether this rank is one of those whose parameters together are all, once.
  var isInFirstGroup: Bool { get }
  /// What the last `reduce` sent to other hosts.
  var transfer: Transfer { get }
  /// How backward goes where sums may not depend on the ranks; nil where all of a rank's gradients go into one buffer.
  var rounds: (any GradientRounds)? { get }

  /// Clears what the last window has left at the rows of the table, which backward adds to; it overwrites all else.
  func beginWindow()
  /// The next backward adds to the gradients of these rows of the table.
  func touch(rows: UnsafeBufferPointer<Int32>)
  /// Something else was written over the gradients, whose table is to be cleared as a whole.
  func forgetGradients()
  /// The last forward of the window is through: its gradients may travel as they become final.
  func begin(_ header: StepHeader)
  /// All gradients of this rank from `offset` on are final.
  func advance(to offset: Int)

  /// Adds up the gradients of the window over the ranks.
  ///
  /// - Parameters:
  ///   - header: of this rank, where it has not begun.
  ///   - decide: is told every rank's header and says what becomes of the sums; the same on every rank. An update begins
  ///     with it, so it tells the `ParameterUpdate` the step's numbers.
  ///   - reached: is called as phases end, for the clock.
  /// - Returns: when this rank is through with its parameters, and all ranks know so.
  func reduce(
    _ header: StepHeader, _ decide: ([StepHeader]) -> UpdateDecision, reached: (ReductionPhase) -> Void
  ) throws(Failure) -> ReducedGradients

  /// Updates this rank's parameters with the sums of a `reduce` that was told `.later`, in a step that the
  /// `ParameterUpdate` has begun.
  ///
  /// - Parameter updated: is called when this rank is through with its own.
  /// - Returns: when whoever sees these weights is through with its part of them.
  func update(updated: () -> Void) throws(Failure)

  /// Where this rank knows of a gradient that is not a finite number, after a `reduce`; nil where it knows of none.
  ///
  /// - Parameter tensors: places of tensors, in order; of several bad ones the last is told, the nearest to the loss.
  func badGradient(in tensors: [Range<Int>]) -> BadGradient?

  /// The groups of ranks that keep what rounding on the wire has lost, which counts in the next step; 0 where nothing
  /// rounds. The same on every rank.
  var residualGroups: Int { get }
  /// Puts together what rounding has lost on a group. Called by all ranks, between steps.
  ///
  /// - Parameter whole: `[layout.count]`, memory that the first group's ranks have in common; nil on others. What is not
  ///   trained stays as it is.
  /// - Returns: when this rank is through with its part.
  func gatherResiduals(ofGroup group: Int, into whole: UnsafeMutablePointer<Float>?) throws(Failure)
  /// Overwrites what rounding has lost on a group with what `gatherResiduals` has put together. Called by all ranks.
  func scatterResiduals(ofGroup group: Int, from whole: UnsafeMutablePointer<Float>?) throws(Failure)
  /// Forgets what rounding on the wire has lost so far.
  func forgetResiduals()
}

extension GradientSynchronizer {
  package var rounds: (any GradientRounds)? { nil }
  package var residualGroups: Int { 0 }
  package func gatherResiduals(ofGroup group: Int, into whole: UnsafeMutablePointer<Float>?) throws(Failure) {}
  package func scatterResiduals(ofGroup group: Int, from whole: UnsafeMutablePointer<Float>?) throws(Failure) {}
  package func forgetResiduals() {}
}

/// Backward by groups of rows, each of which has a sum of its own. In a window each micro-batch is a round of all ranks.
///
/// Its calls, in order, in place of `begin` and `advance`: `beginRound` before a round's backward, which overwrites
/// `buffers`; when all ranks are through with it, `addRound`, but not after the window's last round, which `reduce` adds.
package protocol GradientRounds: AnyObject {
  var plan: RowGroupPlan { get }
  /// Where backward leaves this rank's nodes of `GroupTree`.
  var buffers: [UnsafeMutablePointer<Float>] { get }
  /// Whether nobody else has written to `buffers` since the last backward.
  var areBuffersKnown: Bool { get set }

  /// - Parameters:
  ///   - rows: of the round, over all ranks.
  ///   - isFirst: whether the window begins with it.
  func beginRound(rows: Int, isFirst: Bool)
  /// Adds up a round that is not the window's last. All ranks' gradients are there.
  ///
  /// - Returns: when the next round may overwrite them.
  func addRound() throws(Failure)
}

/// A gradient that is not a finite number.
package struct BadGradient {
  /// The tensor's number.
  package var tensor: Int
  /// The rank whose rows it comes from; nil where only a sum is bad.
  package var rank: Int?
}

extension UnsafePointer<Float> {
  /// The last of the places of tensors in a whole buffer where a square is not finite.
  func lastBad(of tensors: [Range<Int>], in part: Range<Int>) -> Int? {
    tensors.lastIndex { tensor in
      let range = tensor.clamped(to: part)
      return !range.isEmpty && !sumOfSquares(count: range.count, self + range.lowerBound).isFinite
    }
  }
}

/// What a rank says of a step when its last forward is through.
package struct StepHeader: BitwiseCopyable, Sendable {
  package var lossSum: Double
  /// 1 where the rank was asked to stop.
  package var stop: Double

  package init(lossSum: Double, stop: Double) {
    self.lossSum = lossSum
    self.stop = stop
  }
}

extension Communicator {
  /// The headers of all ranks. Called by all ranks.
  func allGather(_ header: StepHeader) throws(Failure) -> [StepHeader] {
    try allGather([header.lossSum, header.stop]).map { StepHeader(lossSum: $0[0], stop: $0[1]) }
  }
}

/// What becomes of sums of gradients.
package enum UpdateDecision: Sendable {
  /// They are applied as they come in.
  case now
  /// `update` applies them, when their norm is known.
  case later
  /// They are of no use.
  case never
}

/// A moment of `reduce`.
package enum ReductionPhase: Sendable {
  /// Every rank's header is there.
  case heard
  /// The sums of this rank's parameters are there.
  case summed
  /// They are applied.
  case updated
}

/// What `reduce` found.
package struct ReducedGradients: Sendable {
  /// By rank.
  package var headers: [StepHeader]
  /// Σ g² of the whole gradient, the same on every rank; NaN where it is not applied.
  package var squaredNorm: Double
}

/// What went to other hosts.
package struct Transfer: Sendable {
  /// Seconds in which gradients were on their way, hidden or not.
  package var seconds = 0.0
  /// From when to when, by `LapClock`; nil where nothing was on its way.
  package var span: ClosedRange<Double>?
  /// Bytes that this rank sent.
  package var bytes = 0
}

/// How parameters become new, part by part.
package protocol ParameterUpdate: AnyObject {
  /// The parameters that this rank updates.
  var parts: [Range<Int>] { get }
  /// Takes the present step for one part, and returns Σ g² over it, before scaling.
  ///
  /// - Parameters:
  ///   - gradients: whole buffers, whose sum is the gradient.
  ///   - touched: the rows of the table that have gradients.
  ///   - usesThreads: whether this rank's threads share it out; else it is the calling thread's alone.
  func apply(
    part: Int, parameters: UnsafeMutablePointer<Float>, gradients: [UnsafePointer<Float>],
    touched: TouchedEmbeddingRows, usesThreads: Bool
  ) -> Double
  /// Takes the present step for parameters that lie in one of the parts, in the calling thread. A parameter's bits do not
  /// depend on where the range begins and ends.
  ///
  /// - Parameter gradient: of the range: element 0 belongs to its first parameter.
  func apply(_ range: Range<Int>, parameters: UnsafeMutablePointer<Float>, gradient: UnsafePointer<Float>)
  /// Σ g² over the part.
  func sumOfSquares(part: Int, gradients: [UnsafePointer<Float>], touched: TouchedEmbeddingRows) -> Double
}

extension ParameterUpdate {
  /// Takes the present step for all parts with all threads.
  func applyAll(
    parameters: UnsafeMutablePointer<Float>, gradients: [UnsafePointer<Float>], touched: TouchedEmbeddingRows
  ) -> Double {
    parts.indices.reduce(0) {
      $0 + apply(part: $1, parameters: parameters, gradients: gradients, touched: touched, usesThreads: true)
    }
  }
}

/// How gradients are added up; the same on every rank.
package struct SynchronizationOptions: Sendable {
  /// How they travel between hosts.
  package var wire: WirePrecision
  /// Whether they travel while backward goes on.
  package var overlaps: Bool
  /// Bytes on the wire that a rank sums at once; nil measures. Rank 0's counts.
  package var bucketBytes: Int?

  package init(wire: WirePrecision = .no, overlaps: Bool = true, bucketBytes: Int? = nil) {
    self.wire = wire
    self.overlaps = overlaps
    self.bucketBytes = bucketBytes
  }
}

/// Chooses how these ranks add up: in memory that all of them see, or in buckets between those that don't. Called by all
/// ranks.
///
/// - Parameters:
///   - memory: of the weights.
///   - updatesLater: whether every `reduce` will be told `.later` or `.never`.
///   - grouping: how rounds are cut into groups of rows, where sums may not depend on the ranks, and the threads that share
///     out sums.
///   - makeUpdate: makes what updates the parameters that this rank gets.
package func makeGradientSynchronizer<Update: ParameterUpdate>(
  _ memory: any ReplicaMemory, _ layout: GradientLayout, _ options: SynchronizationOptions, updatesLater: Bool,
  grouping: (plan: RowGroupPlan, threads: ThreadPool)? = nil, _ communicator: any Communicator,
  makeUpdate: (_ parts: [Range<Int>]) -> Update
) throws(Failure) -> (any GradientSynchronizer, Update) {
  let groups = try memory.groups(communicator)
  let gradients = memory.makeGradients(layout, groups, communicator)
  if let grouping {
    let part = GroupTreeSynchronizer.slice(of: layout.trained, groups)
    let update = makeUpdate([part])
    let synchronizer = try GroupTreeSynchronizer(
      memory, gradients, layout, groups, grouping.plan, threads: grouping.threads, part: part, update: update,
      communicator)
    try communicator.barrier()
    return (synchronizer, update)
  }
  guard groups.count > 1 else {
    let update = makeUpdate([SharedMemorySynchronizer.slice(of: layout.trained, groups)])
    return (SharedMemorySynchronizer(memory, gradients, layout, update: update, communicator), update)
  }
  let link = try communicator.makeLink()
  let bucketFloats = try BucketSize.floats(
    layout, groups, link, options, scratch: gradients.own.pointer, communicator)
  let plan = ExchangePlan(layout, groups, bucketFloats: bucketFloats)
  let update = makeUpdate(plan.parts)
  let exchange = GradientExchange(
    groups, link, layout, plan: plan, bucketFloats: bucketFloats, wire: options.wire, update: update,
    parameters: memory.weights, gradients: gradients, updatesLater: updatesLater)
  let synchronizer = BucketSynchronizer(
    memory, gradients, layout, exchange, groups, update: update, overlaps: options.overlaps,
    residualLink: options.wire.rounds ? try communicator.makeLink() : nil, communicator)
  // Nobody tells a step before all have forgotten those of an earlier training.
  try communicator.barrier()
  return (synchronizer, update)
}
