import FileSystem

/// The weights of a checkpoint folder, one lookup by name over one file or many shards.
///
/// As transformers: `model.safetensors`, or else the shards that `model.safetensors.index.json` names.
public final class WeightSource: Sendable {
  /// A tensor and the file that holds it.
  public struct Entry: Sendable {
    public let info: TensorInfo
    public let file: SafetensorsFile

    /// As `SafetensorsFile.readFloats`.
    public func readFloats(into buffer: UnsafeMutableBufferPointer<Float>) throws(Failure) {
      try file.readFloats(info, into: buffer)
    }
  }

  /// What messages name: the file, or the index.
  public let path: String
  /// All tensors, file by file in the order of their data.
  public let entries: [Entry]
  /// The metadata of the file, or of the first shard.
  public let metadata: [String: String]
  private let places: [[UInt8]: Int]

  /// Opens the weights in the folder `folder` and checks all headers.
  public convenience init(folder: String) throws(Failure) {
    guard isDirectory(folder) else { throw Failure(.missingInput, at: folder, "is not a folder") }
    let single = "\(folder)/model.safetensors"
    let index = "\(folder)/model.safetensors.index.json"
    if exists(single) {
      try self.init(file: single)
    } else if exists(index) {
      try self.init(index: index)
    } else {
      let isPickled = exists("\(folder)/pytorch_model.bin")
      throw Failure(
        .missingInput, at: folder, "has neither model.safetensors nor model.safetensors.index.json",
        hint: isPickled
          ? "pytorch_model.bin is a pickle: save it with safetensors"
          : "finetune --init random starts with fresh weights")
    }
  }

  /// Opens one file.
  public convenience init(file path: String) throws(Failure) {
    let file = try SafetensorsFile(path)
    self.init(path: path, entries: file.tensors.map { Entry(info: $0, file: file) }, metadata: file.metadata)
  }

  /// Opens the shards that the index at `path` names, beside it.
  public convenience init(index path: String) throws(Failure) {
    let shards = try ShardIndex(path)
    var entries: [Entry] = []
    var metadata: [String: String] = [:]
    for (place, shard) in shards.files.enumerated() {
      let file = try SafetensorsFile("\(parent(of: path))/\(shard.name)")
      if place == 0 { metadata = file.metadata }
      for name in shard.tensors where file.tensor(named: name) == nil {
        throw Failure(.badData, at: path, "tensor \(quoted(name)) is not in \(shard.name), where weight_map puts it")
      }
      let mapped = Set(shard.tensors.map { Array($0.utf8) })
      entries += file.tensors.filter { mapped.contains(Array($0.name.utf8)) }.map { Entry(info: $0, file: file) }
    }
    self.init(path: path, entries: entries, metadata: metadata)
  }

  private init(path: String, entries: [Entry], metadata: [String: String]) {
    self.path = path
    self.entries = entries
    self.metadata = metadata
    places = Dictionary(uniqueKeysWithValues: entries.enumerated().map { (Array($1.info.name.utf8), $0) })
  }

  /// The tensor of exactly this name, compared byte by byte.
  public func tensor(named name: String) -> Entry? { places[Array(name.utf8)].map { entries[$0] } }
}

/// `model.safetensors.index.json`: which shard holds which tensor.
private struct ShardIndex {
  /// The shards in the order of their first mention.
  var files: [(name: String, tensors: [String])] = []

  init(_ path: String) throws(Failure) {
    let bytes = try readBytes(path, limitBytes: Header.limitBytes)
    var result: [(name: String, tensors: [String])] = []
    do throws(JSONError) {
      result = try bytes.withUnsafeBufferPointer { (bytes) throws(JSONError) in try Self.parse(bytes) }
    } catch {
      throw Failure(.badData, at: path, "byte \(error.offset): \(error.message)")
    }
    files = result
  }

  private static func parse(
    _ bytes: UnsafeBufferPointer<UInt8>
  ) throws(JSONError) -> [(name: String, tensors: [String])] {
    var files: [(name: String, tensors: [String])] = []
    var places: [[UInt8]: Int] = [:]
    var tensors: Set<[UInt8]> = []
    var keys: Set<[UInt8]> = []
    var cursor = JSONCursor(bytes: bytes)
    try cursor.object("the index") { (cursor, key) throws(JSONError) in
      let member = quoted(String(decoding: key, as: UTF8.self))
      guard keys.insert(key).inserted else { throw cursor.error("\"\(member)\" appears twice") }
      guard key == Array("weight_map".utf8) else { return try cursor.skipValue("\"\(member)\"") }
      try cursor.object("weight_map") { (cursor, key) throws(JSONError) in
        let tensor = String(decoding: key, as: UTF8.self)
        guard tensors.insert(key).inserted else { throw cursor.error("tensor \(quoted(tensor)) appears twice") }
        guard tensors.count <= Header.limitTensors else {
          throw cursor.error("more than \(Header.limitTensors) tensors")
        }
        let name = try cursor.string("the shard of \(quoted(tensor))")
        let shard = String(decoding: name, as: UTF8.self)
        // An index from outside must not make us open files elsewhere.
        guard !name.isEmpty, !name.contains(UInt8(ascii: "/")), !name.contains(0), shard != ".", shard != ".." else {
          throw cursor.error("shard \"\(quoted(shard))\" of \(quoted(tensor)), expected a plain file name")
        }
        if let place = places[name] {
          files[place].tensors.append(tensor)
        } else {
          places[name] = files.count
          files.append((shard, [tensor]))
        }
      }
    }
    try cursor.expectEnd()
    guard keys.contains(Array("weight_map".utf8)) else { throw cursor.error("expected \"weight_map\"") }
    return files
  }
}
