import BERT
import Collectives
import DataParallel
import Kernels
import System

/// A model's weights in one flat buffer, with what they mean.
///
/// Memory that ranks share is there as long as any of them has the model or anything that was made of it.
public final class Model {
  public let configuration: BertConfiguration
  public let layout: ParameterLayout
  public var parameters: FloatBuffer { memory.weights }
  /// Whether the ranks of a host see the same weights, so that a change by one is a change for all of them.
  public var isShared: Bool { memory.isShared }
  let memory: any ReplicaMemory
  /// In place of BERT's pooler and classifier; nil for those.
  public let head: (any TaskHead)?

  /// A model of one rank's own. All weights are 0; fill them before use.
  public init(_ configuration: BertConfiguration, head: (any TaskHead)? = nil) {
    self.head = head
    self.configuration = configuration
    layout = ParameterLayout(configuration)
    memory = OwnReplicaMemory(count: layout.count)
  }

  /// A model of all ranks: one copy of the weights on each host, or where that can't be had a copy each. All weights are
  /// 0; fill them on rank 0 and call `broadcast`.
  ///
  /// - Parameter sharesMemory: false takes a copy each.
  /// - Throws: `.unavailable` where memory lacks, before it is taken.
  public init(
    _ configuration: BertConfiguration, head: (any TaskHead)? = nil, _ communicator: any Communicator,
    sharesMemory: Bool = true
  ) throws(Failure) {
    self.head = head
    try MemoryNeed.weights(configuration).require(for: "the model", communicator)
    self.configuration = configuration
    layout = ParameterLayout(configuration)
    memory = try makeReplicaMemory(
      layout.gradients(encoderIsFrozen: false), sharesMemory: sharesMemory, communicator)
  }

  /// Fresh weights that depend on the seed alone.
  public func initialize(seed: UInt64) {
    for slot in layout.slots { initialize(slot, seed: seed) }
  }

  func initialize(_ slot: ParameterSlot, seed: UInt64) {
    layout.initialize(slot, of: parameters.pointer, configuration: configuration, seed: seed)
  }

  /// Gives every rank the weights of rank 0.
  public func broadcast(_ communicator: any Communicator) throws(Failure) {
    try memory.broadcast(parameters, communicator)
  }
}

extension ParameterLayout {
  /// What adding up gradients must know of the layout.
  package func gradients(encoderIsFrozen: Bool) -> GradientLayout {
    precondition(wordTable.offset == 0, "the word table at \(wordTable.offset), expected 0")
    return GradientLayout(
      count: count, rows: wordTable.shape[0], columns: wordTable.shape[1], finalOffsets: finalOffsets,
      trained: (encoderIsFrozen ? headOffset : 0)..<count)
  }
}
