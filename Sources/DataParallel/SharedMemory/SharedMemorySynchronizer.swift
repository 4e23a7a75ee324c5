import Collectives
import Kernels
import System

/// Ranks that all see one memory: each adds up and applies its slice of the parameters, in one pass. So sums need no memory,
/// and nothing is sent but a header. One rank alone is such a group, too.
final class SharedMemorySynchronizer: GradientSynchronizer {
  let gradients: FloatBuffer
  private let sources: [UnsafePointer<Float>]
  let common: FloatBuffer
  var isInFirstGroup: Bool { true }
  /// Others read them in `reduce` only.
  var hasBegun: Bool { false }
  var transfer: Transfer { Transfer() }

  private let communicator: any Communicator
  private let memory: any ReplicaMemory
  private let seen: GradientMemory
  private let update: any ParameterUpdate
  private let trained: Range<Int>
  private var table: TableGradients
  /// The rows that the ranks touch in a step.
  private var touched: TouchedEmbeddingRows

  init(
    _ memory: any ReplicaMemory, _ seen: GradientMemory, _ layout: GradientLayout, update: any ParameterUpdate,
    _ communicator: any Communicator
  ) {
    self.communicator = communicator
    self.memory = memory
    self.seen = seen
    self.update = update
    trained = layout.trained
    gradients = seen.own
    common = seen.common
    sources = seen.ofGroup.map { UnsafePointer($0) }
    table = TableGradients(layout, seen)
    touched = TouchedEmbeddingRows(layout)
  }

  func beginWindow() { table.beginWindow(sums: nil) }
  func touch(rows: UnsafeBufferPointer<Int32>) { table.touch(rows) }
  func forgetGradients() { table.forget() }
  func begin(_ header: StepHeader) {}
  func advance(to offset: Int) {}

  func reduce(
    _ header: StepHeader, _ decide: ([StepHeader]) -> UpdateDecision, reached: (ReductionPhase) -> Void
  ) throws(Failure) -> ReducedGradients {
    // Every rank's header is also the sign that its gradients are there.
    let headers = try communicator.allGather(header)
    reached(.heard)
    let decision = decide(headers)
    if decision == .never { return ReducedGradients(headers: headers, squaredNorm: .nan) }
    touched.clear()
    for mailbox in seen.mailboxes { touched.formUnion(mailbox.touched) }
    reached(.summed)
    let squares: Double
    if decision == .now {
      squares = update.applyAll(parameters: memory.weights.pointer, gradients: sources, touched: touched)
      reached(.updated)
    } else {
      squares = update.parts.indices.reduce(0) {
        $0 + update.sumOfSquares(part: $1, gradients: sources, touched: touched)
      }
    }
    // Also the sign that all are through with their slices.
    return ReducedGradients(headers: headers, squaredNorm: try communicator.sum(squares))
  }

  func update(updated: () -> Void) throws(Failure) {
    _ = update.applyAll(parameters: memory.weights.pointer, gradients: sources, touched: touched)
    updated()
    try memory.endUpdate(communicator)
  }

  func badGradient(in tensors: [Range<Int>]) -> BadGradient? {
    if let tensor = UnsafePointer(gradients.pointer).lastBad(of: tensors, in: trained) {
      return BadGradient(tensor: tensor, rank: communicator.rank)
    }
    // Each rank knows the sums of its slice only.
    let tensor = tensors.lastIndex { tensor in
      update.parts.contains { part in
        part.overlaps(tensor) && !sumOfSquares(tensor.clamped(to: part), ofSum: sources).isFinite
      }
    }
    return tensor.map { BadGradient(tensor: $0) }
  }

  /// This rank's slice of `range` of the parameters; slices begin at multiples of 1,024 from its start, so that no two
  /// ranks write one cache line.
  static func slice(of range: Range<Int>, _ groups: HostTopology) -> Range<Int> {
    // The range itself may begin within a line.
    let first = range.lowerBound / 1024
    let blocks = (range.upperBound + 1023) / 1024 - first
    let ranks = groups.ranks[groups.own].count
    let start = (first + blocks * groups.place / ranks) * 1024
    let end = (first + blocks * (groups.place + 1) / ranks) * 1024
    return (start..<end).clamped(to: range)
  }
}
