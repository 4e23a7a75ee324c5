import BERT
import Collectives
import FileSystem

/// A model's weights in one flat buffer, with what they mean.
public final class Model {
  public let configuration: BertConfiguration
  public let layout: ParameterLayout
  public let parameters: FloatBuffer
  /// Whether all ranks see the same weights, so that a change by one is a change for all.
  public let isShared: Bool

  /// A model of one rank's own. All weights are 0; fill them before use.
  public init(_ configuration: BertConfiguration) {
    self.configuration = configuration
    layout = ParameterLayout(configuration)
    parameters = FloatBuffer(count: layout.count)
    isShared = false
  }

  /// A model of all ranks: one copy of the weights where they are all on one host, else a copy each. All weights are 0;
  /// fill them on rank 0 and call `broadcast`.
  public init(_ configuration: BertConfiguration, _ communicator: any Communicator) throws(Failure) {
    self.configuration = configuration
    layout = ParameterLayout(configuration)
    let memory = try communicator.makeJobMemory(count: communicator.isMain ? layout.count : 0)
    isShared = memory != nil
    parameters = memory.map { FloatBuffer(borrowing: $0.parts[0]) } ?? FloatBuffer(count: layout.count)
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
    if isShared { try communicator.barrier() } else { try communicator.broadcast(parameters.buffer, from: 0) }
  }
}

extension Communicator {
  /// Memory that all ranks of the job see, where they are all on one host and it can be had; else nil.
  ///
  /// `LOCKSTEP_SHARED_MEMORY=off` does without, to find out whether a fault lies there.
  package func makeJobMemory(count: Int) throws(Failure) -> HostMemory? {
    let isWanted = localSize == size && processVariable("LOCKSTEP_SHARED_MEMORY") != "off"
    // All must choose the same.
    guard try allGather(isWanted ? 1 : 0).allSatisfy({ $0 == 1 }) else { return nil }
    return try makeHostMemory(count: count)
  }
}
