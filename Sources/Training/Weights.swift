import BERT
import Collectives
import FileSystem
import Safetensors

/// What a checkpoint did not have, and what it had too much.
public struct LoadReport: Sendable, Equatable {
  /// Parameters that the checkpoint lacks, with fresh weights.
  public var initialized: [String] = []
  /// Tensors of the checkpoint that the model has no place for.
  public var unused: [String] = []
}

/// Where a model's weights come from.
public enum Initialization: String, Sendable, CaseIterable {
  /// The checkpoint; what it lacks starts fresh.
  case checkpoint
  /// All fresh.
  case random
}

extension Model {
  /// Fills the weights on every rank: rank 0 reads or makes them and gives them to the others.
  ///
  /// - Parameter seed: of fresh weights.
  public func load(
    _ initialization: Initialization, from folder: ModelFolder, seed: Int, _ communicator: any Communicator
  ) throws(Failure) -> LoadReport {
    let seed = UInt64(bitPattern: Int64(seed))
    let report = try communicator.agree { () throws(Failure) -> LoadReport in
      guard communicator.isMain else { return LoadReport() }
      if initialization == .checkpoint { return try loadWeights(folder: folder.path, seed: seed) }
      initialize(seed: seed)
      return LoadReport()
    }
    try broadcast(communicator)
    return report
  }

  /// Overwrites the weights with those of the checkpoint in `folder`; parameters that it lacks start fresh.
  ///
  /// Tensors are found by name with or without the `bert.` in front, and with LayerNorm's old names.
  ///
  /// - Parameter seed: of fresh weights.
  /// - Throws: `.badData` for a wrong shape, or where nothing fits the model.
  public func loadWeights(folder: String, seed: UInt64) throws(Failure) -> LoadReport {
    let source = try WeightSource(folder: folder)
    var report = LoadReport()
    var used: Set<[UInt8]> = []
    for slot in layout.slots {
      guard let entry = slot.namesInCheckpoints.lazy.compactMap(source.tensor(named:)).first else {
        initialize(slot, seed: seed)
        report.initialized.append(slot.name)
        continue
      }
      guard entry.info.shape == slot.shape else {
        throw Failure(
          .badData, at: entry.file.path,
          "tensor \(entry.info.name) has shape \(entry.info.shape), expected \(slot.shape)",
          hint: slot.name.hasPrefix("classifier.")
            ? "the checkpoint was made for another number of labels"
            : "config.json and the weights do not belong together")
      }
      try entry.readFloats(into: UnsafeMutableBufferPointer(rebasing: parameters.buffer[slot.range]))
      used.insert(Array(entry.info.name.utf8))
    }
    guard !used.isEmpty else {
      throw Failure(.badData, at: source.path, "no tensor fits a BERT, expected names such as \(layout.slots[0].name)")
    }
    report.unused = source.entries.map(\.info.name).filter { !used.contains(Array($0.utf8)) }
    return report
  }

  /// Writes all parameters as fp32, under the names that transformers uses.
  func saveWeights(_ path: String) throws(Failure) {
    try writeTensors(parameters, to: path)
  }

  /// Writes a buffer in the order of the layout, such as weights or gradients, as safetensors.
  public func writeTensors(_ values: FloatBuffer, to path: String) throws(Failure) {
    let writer = try SafetensorsWriter(path, layout.slots.map { .init($0.name, shape: $0.shape) })
    for slot in layout.slots {
      try writer.append(UnsafeBufferPointer(rebasing: UnsafeBufferPointer(values.buffer)[slot.range]))
    }
    try writer.commit()
  }
}

extension ParameterSlot {
  /// The names under which checkpoints may hold this parameter, the present one first.
  var namesInCheckpoints: [String] {
    let bare = name.hasPrefix("bert.") ? [String(name.dropFirst("bert.".count))] : []
    let old = ([name] + bare).compactMap { name -> String? in
      if name.hasSuffix("LayerNorm.weight") { return name.dropLast("weight".count) + "gamma" }
      if name.hasSuffix("LayerNorm.bias") { return name.dropLast("bias".count) + "beta" }
      return nil
    }
    return [name] + bare + old
  }
}
