import Collectives
import Kernels
import System

/// Where the weights of the ranks' replicas of a model lie, and which ranks see one another's.
package protocol ReplicaMemory: AnyObject {
  /// This rank's weights.
  var weights: FloatBuffer { get }
  /// Whether a change by one rank of a host is a change for all of them.
  var isShared: Bool { get }
  /// The ranks that see one memory. Called by all ranks.
  func groups(_ communicator: any Communicator) throws(Failure) -> HostTopology
  /// Memory for gradients, 0 at first where it is new.
  func makeGradients(
    _ layout: GradientLayout, _ groups: HostTopology, _ communicator: any Communicator
  ) -> GradientMemory
  /// Gives every rank what stands in `buffer` on rank 0; a buffer of this memory, or as large. Called by all ranks.
  func broadcast(_ buffer: FloatBuffer, _ communicator: any Communicator) throws(Failure)
  /// Returns when all who see these weights have written theirs. Called by all ranks.
  func endUpdate(_ communicator: any Communicator) throws(Failure)
}

/// The gradients that a rank sees, and what keeps their memory.
package struct GradientMemory {
  /// This rank's.
  package let own: FloatBuffer
  /// Those of the group's first rank, which all of it use between steps.
  let common: FloatBuffer
  /// Of every rank of the group, by place.
  let ofGroup: [UnsafeMutablePointer<Float>]
  /// The same.
  let mailboxes: [StepMailbox]
  /// This rank's of them.
  let mailbox: StepMailbox
  let owners: [AnyObject]
}

/// Weights in memory that the ranks of a host share, or, where some host can't have that, a copy for each rank. Called by
/// all ranks.
///
/// - Parameter sharesMemory: false takes copies; one rank that says so is enough.
package func makeReplicaMemory(
  _ layout: GradientLayout, sharesMemory: Bool, _ communicator: any Communicator
) throws(Failure) -> any ReplicaMemory {
  try HostReplicaMemory(layout, sharesMemory: sharesMemory, communicator) ?? OwnReplicaMemory(count: layout.count)
}

/// A copy for this rank alone.
package final class OwnReplicaMemory: ReplicaMemory {
  package let weights: FloatBuffer
  package var isShared: Bool { false }

  package init(count: Int) { weights = FloatBuffer(count: count) }

  package func groups(_ communicator: any Communicator) throws(Failure) -> HostTopology {
    HostTopology(singlesOf: communicator)
  }

  package func makeGradients(
    _ layout: GradientLayout, _ groups: HostTopology, _ communicator: any Communicator
  ) -> GradientMemory {
    let own = FloatBuffer(count: layout.count)
    let notes = FloatBuffer(count: StepMailbox.byteCount(layout, ranks: communicator.size) / MemoryLayout<Float>.stride)
    let mailbox = StepMailbox(at: UnsafeMutableRawPointer(notes.pointer), layout)
    return GradientMemory(
      own: own, common: own, ofGroup: [own.pointer], mailboxes: [mailbox], mailbox: mailbox, owners: [own, notes])
  }

  package func broadcast(_ buffer: FloatBuffer, _ communicator: any Communicator) throws(Failure) {
    try communicator.broadcast(buffer.buffer, from: 0)
  }

  package func endUpdate(_ communicator: any Communicator) throws(Failure) {}
}

/// Memory that the ranks of a host see: one copy of the weights, every rank's gradients and every rank's mailbox.
package final class HostReplicaMemory: ReplicaMemory {
  package let weights: FloatBuffer
  /// By local rank.
  private let gradients: [UnsafeMutableBufferPointer<Float>]
  /// By local rank.
  private let mailboxes: [StepMailbox]
  /// Keeps all of it.
  private let memory: HostMemory

  package var isShared: Bool { true }

  /// Called by all ranks; nil on all where it can't be had on every host, or one does not want it.
  init?(_ layout: GradientLayout, sharesMemory: Bool, _ communicator: any Communicator) throws(Failure) {
    // All must choose the same.
    guard try communicator.allGather(sharesMemory ? 1 : 0).allSatisfy({ $0 == 1 }) else { return nil }
    // Each at the start of a cache line.
    let count = (layout.count + 15) / 16 * 16
    let mailboxCount = StepMailbox.byteCount(layout, ranks: communicator.size) / MemoryLayout<Float>.stride
    let memory = try communicator.makeHostMemory(
      count: (communicator.localRank == 0 ? 2 : 1) * count + mailboxCount)
    guard try communicator.allGather(memory == nil ? 0 : 1).allSatisfy({ $0 == 1 }), let memory else { return nil }
    self.memory = memory
    let parts = memory.parts
    weights = FloatBuffer(UnsafeMutableBufferPointer(rebasing: parts[0][..<layout.count]), keeping: memory)
    gradients = parts.indices.map { rank in
      let start = rank == 0 ? count : 0
      return UnsafeMutableBufferPointer(rebasing: parts[rank][start..<start + layout.count])
    }
    mailboxes = parts.map { part in
      guard let end = part.baseAddress.map({ $0 + part.count - mailboxCount }) else {
        preconditionFailure("host memory without an address")
      }
      return StepMailbox(at: end, layout)
    }
  }

  package func groups(_ communicator: any Communicator) throws(Failure) -> HostTopology {
    try HostTopology(hostsOf: communicator)
  }

  package func makeGradients(
    _ layout: GradientLayout, _ groups: HostTopology, _ communicator: any Communicator
  ) -> GradientMemory {
    GradientMemory(
      own: FloatBuffer(gradients[communicator.localRank], keeping: memory),
      common: FloatBuffer(gradients[0], keeping: memory),
      ofGroup: gradients.compactMap(\.baseAddress), mailboxes: mailboxes,
      mailbox: mailboxes[communicator.localRank], owners: [memory])
  }

  package func broadcast(_ buffer: FloatBuffer, _ communicator: any Communicator) throws(Failure) {
    let groups = try groups(communicator)
    guard groups.count > 1 else { return try communicator.barrier() }
    try communicator.broadcast(UnsafeMutableRawBufferPointer(buffer.buffer), over: groups, communicator.makeLink())
  }

  package func endUpdate(_ communicator: any Communicator) throws(Failure) { try communicator.barrier() }
}
