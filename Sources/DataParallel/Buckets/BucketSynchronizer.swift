import Collectives
import Kernels
import System

/// Ranks that don't all see one memory: sums travel between them bucket by bucket, while backward goes on, and are applied
/// as they come in. Ranks of a host add up in their memory first. See `GradientExchange`.
final class BucketSynchronizer: GradientSynchronizer {
  let gradients: FloatBuffer
  /// The sums overwrite this rank's own.
  private let sources: [UnsafePointer<Float>]
  let common: FloatBuffer
  var isInFirstGroup: Bool { groups.own == 0 }
  private(set) var hasBegun = false
  private(set) var transfer = Transfer()

  private let communicator: any Communicator
  private let groups: HostTopology
  private let memory: any ReplicaMemory
  private let layout: GradientLayout
  private let update: any ParameterUpdate
  private let exchange: GradientExchange
  private let thread: ExchangeThread
  private var table: TableGradients
  /// For residuals, which travel between steps; nil where nothing rounds.
  private let residualLink: (any PointToPointChannel)?
  /// Windows begun.
  private var step = 0

  /// - Parameter overlaps: whether sums travel while backward goes on.
  init(
    _ memory: any ReplicaMemory, _ seen: GradientMemory, _ layout: GradientLayout, _ exchange: GradientExchange,
    _ groups: HostTopology, update: any ParameterUpdate, overlaps: Bool, residualLink: (any PointToPointChannel)?,
    _ communicator: any Communicator
  ) {
    self.residualLink = residualLink
    self.groups = groups
    self.communicator = communicator
    self.memory = memory
    self.layout = layout
    self.update = update
    self.exchange = exchange
    gradients = seen.own
    common = seen.common
    sources = [UnsafePointer(seen.own.pointer)]
    table = TableGradients(layout, seen)
    thread = ExchangeThread(
      exchange, communicator, overlaps: overlaps && communicator.linksMayBeUsedByOtherThreads)
  }

  func beginWindow() { table.beginWindow(sums: exchange.isInPeerGroup ? exchange.touched : nil) }
  func touch(rows: UnsafeBufferPointer<Int32>) { table.touch(rows) }
  func forgetGradients() { table.forget() }

  func begin(_ header: StepHeader) {
    if hasBegun { return }
    hasBegun = true
    step += 1
    thread.begin(step: step, header: header)
  }

  func advance(to offset: Int) { exchange.advance(to: offset) }

  func reduce(
    _ header: StepHeader, _ decide: ([StepHeader]) -> UpdateDecision, reached: (ReductionPhase) -> Void
  ) throws(Failure) -> ReducedGradients {
    // A rank without rows in the last micro-batch has not begun.
    begin(header)
    exchange.advance(to: 0)
    let (headers, decision) = try communicator.waitingForExchange(count: layout.count) { () throws(Failure) in
      let headers = try thread.wait { exchange.heard(ranks: communicator.size) }
      reached(.heard)
      let decision = decide(headers)
      switch decision {
      case .now: exchange.permitUpdate()
      case .later, .never: exchange.leaveUpdate()
      }
      try thread.wait { exchange.isSummed ? () : nil }
      reached(.summed)
      try thread.wait { exchange.isFinished ? () : nil }
      return (headers, decision)
    }
    hasBegun = false
    if decision == .never { return ReducedGradients(headers: headers, squaredNorm: .nan) }
    transfer = exchange.transfer
    if decision == .now { reached(.updated) }
    // Every group has the same sums, so one of them counts.
    let squares = isInFirstGroup && groups.isInPeerGroup ? exchange.sumOfSquares : 0
    // Also the sign that all are through with theirs.
    return ReducedGradients(headers: headers, squaredNorm: try communicator.sum(squares))
  }

  func badGradient(in tensors: [Range<Int>]) -> BadGradient? {
    // The sums have overwritten this rank's gradients, so the exchange has looked before.
    if let bad = exchange.badSource, let tensor = tensors.lastIndex(where: { $0.contains(bad.offset) }) {
      return BadGradient(tensor: tensor, rank: bad.rank)
    }
    let tensor = update.parts.compactMap { UnsafePointer(gradients.pointer).lastBad(of: tensors, in: $0) }.max()
    return tensor.map { BadGradient(tensor: $0) }
  }

  var residualGroups: Int { residualLink == nil ? 0 : groups.count }

  func gatherResiduals(ofGroup group: Int, into whole: UnsafeMutablePointer<Float>?) throws(Failure) {
    guard let residualLink else { return }
    try exchange.moveResiduals(ofGroup: group, whole: whole, isGather: true, residualLink)
  }

  func scatterResiduals(ofGroup group: Int, from whole: UnsafeMutablePointer<Float>?) throws(Failure) {
    guard let residualLink else { return }
    try exchange.moveResiduals(ofGroup: group, whole: whole, isGather: false, residualLink)
  }

  func forgetResiduals() { exchange.forgetResiduals() }

  func update(updated: () -> Void) throws(Failure) {
    _ = update.applyAll(parameters: memory.weights.pointer, gradients: sources, touched: exchange.touched)
    updated()
    try memory.endUpdate(communicator)
  }
}
