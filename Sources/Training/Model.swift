import BERT
import Collectives
import FileSystem

/// A model's weights in one flat buffer, with what they mean.
public final class Model {
  public let configuration: BertConfiguration
  public let layout: ParameterLayout
  public let parameters: FloatBuffer

  /// All weights 0; fill them before use.
  public init(_ configuration: BertConfiguration) {
    self.configuration = configuration
    layout = ParameterLayout(configuration)
    parameters = FloatBuffer(count: layout.count)
  }

  /// Fresh weights that depend on the seed alone.
  public func initialize(seed: UInt64) {
    for slot in layout.slots { initialize(slot, seed: seed) }
  }

  func initialize(_ slot: ParameterSlot, seed: UInt64) {
    layout.initialize(slot, of: parameters.pointer, configuration: configuration, seed: seed)
  }

  /// Overwrites every rank's weights with those of rank 0.
  public func broadcast(_ communicator: any Communicator) throws(Failure) {
    try communicator.broadcast(parameters.buffer, from: 0)
  }
}
