import BERT
import System
import WeightFiles

/// What a checkpoint did not have, and what it had too much.
public struct LoadReport: Sendable, Equatable {
  /// A tensor of the checkpoint whose shape is not the parameter's.
  public struct Mismatch: Sendable, Equatable {
    public var name: String
    public var shape: [Int]
    public var expected: [Int]

    public init(name: String, shape: [Int], expected: [Int]) {
      self.name = name
      self.shape = shape
      self.expected = expected
    }
  }

  /// Parameters that the checkpoint lacks, with fresh weights.
  public var initialized: [String] = []
  /// Parameters with fresh weights, for the checkpoint's have another shape.
  public var mismatched: [Mismatch] = []
  /// Tensors of the checkpoint that the model has no place for.
  public var unused: [String] = []

  public init() {}

  /// What a user should know, line by line.
  public var lines: [String] {
    var lines: [String] = []
    if !initialized.isEmpty { lines.append("newly initialised: \(initialized.joined(separator: ", "))") }
    if !mismatched.isEmpty {
      let parts = mismatched.map { "\($0.name) (\($0.shape) in the checkpoint, \($0.expected) in the model)" }
      lines.append("newly initialised, as the shapes differ: \(parts.joined(separator: ", "))")
    }
    if !unused.isEmpty { lines.append("not used: \(unused.joined(separator: ", "))") }
    // The names come from a file.
    return lines.map(\.escapingControlCharacters)
  }
}

/// Where each parameter's first value comes from. Made from headers alone, before memory for a model is taken.
public struct WeightPlan: Sendable {
  /// By slot; nil where it starts fresh.
  let entries: [(any StoredTensor)?]
  public let report: LoadReport

  /// All weights fresh.
  public init(randomFor configuration: BertConfiguration) {
    entries = ParameterLayout(configuration).slots.map { _ in nil }
    report = LoadReport()
  }

  /// The weights of the checkpoint in `folder`; parameters that it lacks start fresh.
  ///
  /// Tensors are found by name with or without the encoder's in front (`bert.`), and with LayerNorm's old names.
  ///
  /// - Parameter ignoresMismatchedSizes: parameters start fresh, too, where the checkpoint's have another shape.
  /// - Throws: `.badData` for a wrong shape, or where nothing fits the model.
  public init(
    folder: String, for configuration: BertConfiguration, ignoresMismatchedSizes: Bool = false
  ) throws(Failure) {
    let source = try WeightSource(folder: folder)
    let slots = ParameterLayout(configuration).slots
    guard slots.contains(where: { $0.namesInCheckpoints.contains { source.tensor(named: $0) != nil } }) else {
      throw Failure(
        .badData, at: source.path,
        "no tensor fits a model of type \(configuration.family.modelType), expected names such as \(slots[0].name)")
    }
    var entries: [(any StoredTensor)?] = []
    var report = LoadReport()
    var found: Set<[UInt8]> = []
    for slot in slots {
      guard let entry = slot.namesInCheckpoints.lazy.compactMap(source.tensor(named:)).first else {
        // Checkpoints of other tasks lack the head; without the rest, config.json belongs to other weights.
        guard slot.belongsToHead || ignoresMismatchedSizes else { throw Self.missing(slot, source) }
        entries.append(nil)
        report.initialized.append(slot.name)
        continue
      }
      found.insert(Array(entry.name.utf8))
      guard entry.shape != slot.shape else {
        entries.append(entry)
        continue
      }
      guard ignoresMismatchedSizes else { throw Self.mismatch(entry, slot) }
      entries.append(nil)
      report.mismatched.append(.init(name: entry.name, shape: entry.shape, expected: slot.shape))
    }
    report.unused = source.entries.map(\.name).filter { !found.contains(Array($0.utf8)) }
    self.entries = entries
    self.report = report
  }

  private static func missing(_ slot: ParameterSlot, _ source: WeightSource) -> Failure {
    Failure(
      .badData, at: source.path, "no tensor \(slot.name) \(slot.shape), which config.json claims",
      hint: "config.json and the weights do not belong together", cause: .missingTensor)
  }

  private static func mismatch(_ entry: any StoredTensor, _ slot: ParameterSlot) -> Failure {
    let isOtherLabels = slot.belongsToHead && entry.shape.dropFirst() == slot.shape.dropFirst()
    return Failure(
      .badData, at: entry.path, "tensor \(entry.name) has shape \(entry.shape), expected \(slot.shape)",
      hint: isOtherLabels
        ? "the checkpoint was made for another number of labels" : "config.json and the weights do not belong together",
      cause: isOtherLabels ? .otherLabels : .otherShape)
  }
}

extension ParameterSlot {
  /// The names under which checkpoints may hold this parameter, the present one first.
  var namesInCheckpoints: [String] {
    let bare = encoderPrefix.isEmpty ? [] : [String(name.dropFirst(encoderPrefix.count))]
    let old = ([name] + bare).compactMap { name -> String? in
      if name.hasSuffix("LayerNorm.weight") { return name.dropLast("weight".count) + "gamma" }
      if name.hasSuffix("LayerNorm.bias") { return name.dropLast("bias".count) + "beta" }
      return nil
    }
    return [name] + bare + old
  }
}
