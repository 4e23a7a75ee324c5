import BERT
import Collectives
import Kernels
import Safetensors
import System

/// Where a model's weights come from.
public enum Initialization: String, Sendable, CaseIterable {
  /// The checkpoint; what it lacks starts fresh.
  case checkpoint
  /// All fresh.
  case random
}

extension WeightPlan {
  /// The plan of all ranks, of which rank 0 alone looks at the checkpoint: before memory for a model is taken.
  ///
  /// - Parameter ignoresMismatchedSizes: see ``init(folder:for:ignoresMismatchedSizes:)``.
  public init(
    _ initialization: Initialization, from folder: ModelFolder, ignoresMismatchedSizes: Bool = false,
    _ communicator: any Communicator
  ) throws(Failure) {
    self = try communicator.agree { () throws(Failure) -> WeightPlan in
      guard communicator.isMain, initialization == .checkpoint else {
        return WeightPlan(randomFor: folder.configuration)
      }
      return try WeightPlan(
        folder: folder.path, for: folder.configuration, ignoresMismatchedSizes: ignoresMismatchedSizes)
    }
  }
}

extension Model {
  /// Fills the weights on every rank: rank 0 reads or makes them and gives them to the others.
  ///
  /// - Parameter seed: of fresh weights.
  public func load(_ plan: WeightPlan, seed: Int, _ communicator: any Communicator) throws(Failure) {
    try communicator.agree { () throws(Failure) in
      if communicator.isMain { try load(plan, seed: UInt64(bitPattern: Int64(seed))) }
    }
    try broadcast(communicator)
  }

  /// Overwrites the weights as the plan says.
  ///
  /// - Parameter seed: of fresh weights.
  public func load(_ plan: WeightPlan, seed: UInt64) throws(Failure) {
    precondition(plan.entries.count == layout.slots.count, "a plan for another model")
    for (slot, entry) in zip(layout.slots, plan.entries) {
      guard let entry else {
        initialize(slot, seed: seed)
        continue
      }
      precondition(entry.shape == slot.shape, "a plan for another model")
      try entry.readFloats(into: UnsafeMutableBufferPointer(rebasing: parameters.buffer[slot.range]))
    }
  }

  /// Overwrites the weights with those of the checkpoint in `folder`; see ``WeightPlan``.
  public func loadWeights(folder: String, seed: UInt64) throws(Failure) -> LoadReport {
    let plan = try WeightPlan(folder: folder, for: configuration)
    try load(plan, seed: seed)
    return plan.report
  }
}

/// Writes values in the order of a model's layout, such as weights or gradients, as safetensors, under the names that
/// transformers uses.
///
/// - Parameter metadata: noted in the file.
func writeTensors(
  _ values: UnsafeBufferPointer<Float>, _ slots: [ParameterSlot], to path: String, metadata: [String: String]
) throws(Failure) {
  let writer = try SafetensorsWriter(path, tensors(slots), metadata: withFormat(metadata))
  for slot in slots { try writer.append(UnsafeBufferPointer(rebasing: values[slot.range])) }
  try writer.commit()
}

/// What a file that `writeTensors` writes begins with.
func tensorsHeader(_ slots: [ParameterSlot], metadata: [String: String]) -> [UInt8] {
  SafetensorsWriter.header(tensors(slots), metadata: withFormat(metadata))
}

private func tensors(_ slots: [ParameterSlot]) -> [SafetensorsWriter.Tensor] {
  slots.map { .init($0.name, shape: $0.shape) }
}

/// transformers refuses a file without it.
private func withFormat(_ metadata: [String: String]) -> [String: String] { metadata.merging(["format": "pt"]) { $1 } }
