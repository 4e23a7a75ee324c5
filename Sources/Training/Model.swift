import BERT
import Collectives
import System

/// A model's weights in one flat buffer, with what they mean.
///
/// Memory that ranks share is there as long as any of them has the model or anything that was made of it.
public final class Model {
  public let configuration: BertConfiguration
  public let layout: ParameterLayout
  public let parameters: FloatBuffer
  /// Whether the ranks of a host see the same weights, so that a change by one is a change for all of them.
  public var isShared: Bool { store != nil }
  let store: HostStore?
  /// In place of BERT's pooler and classifier; nil for those.
  public let head: (any TaskHead)?

  /// A model of one rank's own. All weights are 0; fill them before use.
  public init(_ configuration: BertConfiguration, head: (any TaskHead)? = nil) {
    self.head = head
    self.configuration = configuration
    layout = ParameterLayout(configuration)
    parameters = FloatBuffer(count: layout.count)
    store = nil
  }

  /// A model of all ranks: one copy of the weights on each host, or where that can't be had a copy each. All weights are
  /// 0; fill them on rank 0 and call `broadcast`.
  ///
  /// - Throws: `.unavailable` where memory lacks, before it is taken.
  public init(
    _ configuration: BertConfiguration, head: (any TaskHead)? = nil, _ communicator: any Communicator
  ) throws(Failure) {
    self.head = head
    try MemoryNeed.weights(configuration).require(for: "the model", communicator)
    self.configuration = configuration
    layout = ParameterLayout(configuration)
    store = try HostStore(layout, communicator)
    parameters = store.map { FloatBuffer($0.weights, keeping: $0.memory) } ?? FloatBuffer(count: layout.count)
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
    guard isShared else { return try communicator.broadcast(parameters.buffer, from: 0) }
    let groups = try HostTopology(hostsOf: communicator)
    guard groups.count > 1 else { return try communicator.barrier() }
    try communicator.broadcast(
      UnsafeMutableRawBufferPointer(parameters.buffer), over: groups, communicator.makeLink())
  }
}
