import Safetensors
import System
import TorchPickle

/// A tensor of a file, of whatever format.
public protocol StoredTensor: Sendable {
  var name: String { get }
  var shape: [Int] { get }
  /// The number of elements.
  var count: Int { get }
  /// The file's path.
  var path: String { get }

  /// Overwrites `buffer`, which has the tensor's number of elements, with its values as `Float`.
  ///
  /// Throws `.badData` where they are no floats, or one of them is not finite.
  func readFloats(into buffer: UnsafeMutableBufferPointer<Float>) throws(Failure)
}

private struct SafetensorsTensor: StoredTensor {
  let file: SafetensorsFile
  let tensor: TensorInfo
  var name: String { tensor.name }
  var shape: [Int] { tensor.shape }
  var count: Int { tensor.count }
  var path: String { file.path }

  func readFloats(into buffer: UnsafeMutableBufferPointer<Float>) throws(Failure) {
    try file.readFloats(tensor, into: buffer)
  }
}

private struct TorchTensor: StoredTensor {
  let file: TorchFile
  let tensor: TorchFile.Tensor
  var name: String { tensor.name }
  var shape: [Int] { tensor.shape }
  var count: Int { tensor.count }
  var path: String { file.path }

  func readFloats(into buffer: UnsafeMutableBufferPointer<Float>) throws(Failure) {
    try file.readFloats(tensor, into: buffer)
  }
}

/// The weights of a checkpoint folder, one lookup by name over one file or many shards.
///
/// As transformers: `model.safetensors`, or else the shards of `model.safetensors.index.json`, or else
/// `pytorch_model.bin`, or else the shards of `pytorch_model.bin.index.json`.
public final class WeightSource: Sendable {
  /// What messages name: the file, or the index.
  public let path: String
  /// All tensors, file by file in the order of their data.
  public let entries: [any StoredTensor]
  private let places: [[UInt8]: Int]

  /// The files that a folder may have, those that are preferred first.
  private static let kinds = ["model.safetensors", "pytorch_model.bin"]

  /// Opens the weights in the folder `folder` and checks all headers.
  public convenience init(folder: String) throws(Failure) {
    guard isDirectory(folder) else { throw Failure(.missingInput, at: folder, "is not a folder") }
    for name in Self.kinds {
      let single = "\(folder)/\(name)"
      if exists(single) {
        try self.init(file: single)
        return
      }
      if exists("\(single).index.json") {
        try self.init(index: "\(single).index.json")
        return
      }
    }
    throw Failure(
      .missingInput, at: folder, "has neither model.safetensors nor pytorch_model.bin, nor an index of either",
      hint: "expected a checkpoint's folder", cause: .noWeights)
  }

  /// Opens one file, of whichever format it is.
  public convenience init(file path: String) throws(Failure) { try self.init(path: path, files: [path]) }

  /// Opens the shards that the index at `path` names, beside it. All tensors of a shard count, as in transformers.
  private convenience init(index path: String) throws(Failure) {
    let shards = try ShardIndex(path)
    try self.init(path: path, files: shards.names.map { "\(parent(of: path))/\($0)" })
    for (tensor, shard) in shards.tensors {
      guard let entry = self.tensor(named: tensor), entry.path == "\(parent(of: path))/\(shard)" else {
        throw Failure(.badData, at: path, "tensor \(tensor) is not in \(shard), where weight_map puts it")
      }
    }
  }

  private init(path: String, files: [String]) throws(Failure) {
    self.path = path
    var entries: [any StoredTensor] = []
    for file in files { entries += try Self.open(file) }
    var places: [[UInt8]: Int] = [:]
    for (place, entry) in entries.enumerated() {
      guard let other = places.updateValue(place, forKey: Array(entry.name.utf8)) else { continue }
      throw Failure(.badData, at: entry.path, "tensor \(entry.name) is also in \(entries[other].path)")
    }
    self.entries = entries
    self.places = places
  }

  private static func open(_ path: String) throws(Failure) -> [any StoredTensor] {
    if try TorchFile.isOne(path) {
      let file = try TorchFile(path)
      return file.tensors.map { TorchTensor(file: file, tensor: $0) }
    }
    let file = try SafetensorsFile(path)
    return file.tensors.map { SafetensorsTensor(file: file, tensor: $0) }
  }

  /// The tensor of exactly this name, compared byte by byte.
  public func tensor(named name: String) -> (any StoredTensor)? { places[Array(name.utf8)].map { entries[$0] } }
}

extension Failure.Cause {
  /// A folder holds no file of weights.
  public static let noWeights = Failure.Cause("no weights")
}
