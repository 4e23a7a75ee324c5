import BERT
import Datasets
import JSON
import Safetensors
import System

/// Notes in the weights' file by which a later run knows that it may replace a folder.
private enum Mark {
  static let writer = (key: "writer", value: "lockstep")
  /// The names of the files that were saved together, with a `/` between two.
  static let files = "files"
  static let weights = "model.safetensors"
}

/// A model's folder without its weights.
public struct SavedModel: Sendable {
  let slots: [ParameterSlot]
  let files: [(name: String, bytes: [UInt8])]

  /// Writes all of it into the folder `path`, which is there.
  ///
  /// - Parameter weights: in the order of the model's layout.
  public func write(_ weights: UnsafeBufferPointer<Float>, into path: String) throws(Failure) {
    try writeTensors(weights, slots, to: "\(path)/\(Mark.weights)", metadata: metadata)
    try writeFiles(into: path)
  }

  /// Writes all but the weights.
  func writeFiles(into path: String) throws(Failure) {
    for file in files { try writeAtomically(file.bytes, to: "\(path)/\(file.name)") }
  }

  /// What the file of weights begins with.
  var weightsHeader: [UInt8] { tensorsHeader(slots, metadata: metadata) }

  private var metadata: [String: String] {
    let names = [Mark.weights] + files.map(\.name)
    return [Mark.writer.key: Mark.writer.value, Mark.files: names.joined(separator: "/")]
  }
}

extension ModelFolder {
  /// The folder of checkpoints in an output folder; it stays when a model is saved beside it.
  public static let checkpointsName = "checkpoints"

  /// Prepares to save into the folder `path`, and holds off other runs.
  ///
  /// A folder that is missing, empty or holds a saved model of this program and nothing else is replaced by `save`.
  ///
  /// - Parameters:
  ///   - overwrites: replace any other folder too, with all that is in it.
  ///   - home: the user's home folder, which is never replaced.
  /// - Throws: `.cannotCreate` where the folder must not be replaced, another run saves there, or nothing can be written.
  public static func output(
    _ path: String, overwrites: Bool = false, home: String?
  ) throws(Failure) -> OutputFolder {
    try OutputFolder(path, keeping: checkpointsName, home: home) { (folder, names) throws(Failure) in
      let names = names.filter { $0 != checkpointsName }
      if overwrites || names.isEmpty { return }
      let mark = (try? SafetensorsFile("\(folder)/\(Mark.weights)"))?.metadata ?? [:]
      let files = mark[Mark.writer.key] == Mark.writer.value ? mark[Mark.files]?.split(separator: "/") ?? [] : []
      // The user's page about the model stays; see ``keptCard(in:)``.
      let foreign = names.first { name in !files.contains { $0 == name } && name != Self.cardName }
      guard let foreign else { return }
      throw Failure(
        .cannotCreate, at: path,
        files.isEmpty
          ? "holds \(foreign) and was not saved by this program"
          : "holds \(foreign) beside a model that this program saved",
        hint: "name another folder, or allow that everything in it is replaced", cause: .foreignFiles)
    }
  }

  /// Saves a model with this folder's tokenizer, as transformers' `from_pretrained` reads it. The output folder holds what
  /// it held before, or all of it.
  ///
  /// - Parameters:
  ///   - labelNames: names of the classes, in order.
  ///   - problem: how transformers is to take the labels; nil is regression for one output, else one class a row.
  ///   - further: files to save beside the model.
  /// - Returns: the folder that the model is in. It is another one where files came into the output folder meanwhile.
  @discardableResult
  public func save(
    _ model: Model, to output: OutputFolder, labelNames: [String], problem: ProblemType? = nil,
    further: [(name: String, bytes: [UInt8])] = []
  ) throws(Failure) -> String {
    let names = [Mark.weights, "config.json"] + tokenizerFiles.contents.map(\.name) + further.map(\.name)
    return try output.replace(files: names) { (folder) throws(Failure) in
      try write(model, into: folder, labelNames: labelNames, problem: problem, further: further)
    }
  }

  /// Writes a model with this folder's tokenizer into the folder `path`, which is there. See
  /// ``save(_:to:labelNames:problem:further:)``.
  public func write(
    _ model: Model, into path: String, labelNames: [String], problem: ProblemType? = nil,
    further: [(name: String, bytes: [UInt8])] = []
  ) throws(Failure) {
    try saved(model, labelNames: labelNames, problem: problem, further: further)
      .write(UnsafeBufferPointer(model.parameters.buffer), into: path)
  }

  /// What a saved model consists of beside the weights.
  public func saved(
    _ model: Model, labelNames: [String], problem: ProblemType? = nil,
    further: [(name: String, bytes: [UInt8])] = []
  ) throws(Failure) -> SavedModel {
    let configuration = try savedConfiguration(model, labelNames, problem)
    return SavedModel(
      slots: model.layout.slots,
      files: tokenizerFiles.contents + [(name: "config.json", bytes: configuration)] + further)
  }

  /// The name of the page about a model.
  public static let cardName = "README.md"

  /// The page about the model in the folder `path`, where somebody has written it: one without `mark`.
  public static func keptCard(in path: String, mark: String) -> [UInt8]? {
    guard let bytes = try? readBytes("\(path)/\(cardName)", limitBytes: 1 << 24) else { return nil }
    return String(decoding: bytes, as: UTF8.self).contains(mark) ? nil : bytes
  }

  /// Saves a model into the folder `path`. See ``output(_:overwrites:home:)`` and ``save(_:to:labelNames:problem:)``.
  public func save(
    _ model: Model, to path: String, labelNames: [String], problem: ProblemType? = nil, overwrites: Bool = false,
    home: String?
  ) throws(Failure) {
    try save(model, to: Self.output(path, overwrites: overwrites, home: home), labelNames: labelNames, problem: problem)
  }

  /// The folder's own config.json with what training settled, each in its place: the architecture, the labels and the
  /// element type. Everything else stays as it was written, `0.0` for instance, which transformers does not take as `0`.
  func savedConfiguration(
    _ model: Model, _ labelNames: [String], _ problem: ProblemType? = nil
  ) throws(Failure) -> [UInt8] {
    let labels = model.configuration.labels
    let problem = problem ?? (labels == 1 ? .regression : .singleLabel)
    let names = labelNames.count == labels ? labelNames : (0..<labels).map { "LABEL_\($0)" }
    let settled: [(key: String, value: JSONText)] = [
      ("architectures", .array([.string(model.configuration.family.classifierClass)])),
      ("id2label", .object(names.enumerated().map { ("\($0)", .string($1)) })),
      ("label2id", .object(names.enumerated().map { ($1, .int($0)) })),
      ("problem_type", .string(problem.rawValue)),
      // transformers 4 reads the one, 5 both.
      ("torch_dtype", .string("float32")), ("dtype", .string("float32")),
    ]
    var members: [(key: String, value: JSONText)] = []
    var isSet: Set<String> = []
    for member in try JSONDocument(configurationText, path: "\(path)/config.json").root.members() {
      let key = String(decoding: member.key, as: UTF8.self)
      let value = settled.first { $0.key.utf8.elementsEqual(member.key) }?.value
      if value != nil { isSet.insert(key) }
      // transformers counts id2label.
      if key != "num_labels" { members.append((key, value ?? .node(member.value))) }
    }
    let hasElementType = isSet.contains("torch_dtype") || isSet.contains("dtype")
    for member in settled where !isSet.contains(member.key) {
      let isOther = member.key == "torch_dtype" || (member.key == "dtype" && hasElementType)
      if !isOther { members.append(member) }
    }
    return JSONText.object(members).bytes
  }
}
