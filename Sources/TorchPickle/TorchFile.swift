import Safetensors
import System

/// A file that `torch.save` wrote of a state dict, `pytorch_model.bin` for instance, open for reading.
///
/// The pickle in it is read, never run. A zip archive since torch 1.6; before, four pickles with the numbers behind them.
public final class TorchFile: Sendable {
  /// A tensor, checked: all its elements are within the file.
  public struct Tensor: Sendable {
    public let name: String
    public var shape: [Int] { layout.shape }
    /// The number of elements.
    public var count: Int { layout.count }
    let layout: TorchLayout
    /// The file's byte where its storage begins.
    let storageStart: Int
  }

  public var path: String { file.path }
  /// All tensors of the dictionary, in its order.
  public let tensors: [Tensor]
  private let file: InputFile

  /// A pickle of 100,000 tensors has 12 MB.
  private static let limitPickleBytes = 1 << 24
  private static let limitTensors = 100_000

  /// Whether the file at `path` begins like one of torch's.
  public static func isOne(_ path: String) throws(Failure) -> Bool {
    let file = try InputFile(path)
    let start = try file.bytes(0..<min(4, file.byteCount))
    return start == [0x50, 0x4b, 0x03, 0x04] || start.starts(with: [0x80, 0x02, 0x8a, 0x0a])
  }

  /// Opens the file, reads its pickle and checks every tensor.
  public init(_ path: String) throws(Failure) {
    file = try InputFile(path)
    let isZip = try file.bytes(0..<min(2, file.byteCount)) == Array("PK".utf8)
    tensors = isZip ? try Self.readZip(file) : try Self.readOldFormat(file)
  }

  // MARK: Both formats

  /// The state dict that a machine has built: names and layouts.
  private static func stateDictionary(
    _ root: PickleValue, _ machine: PickleMachine
  ) throws(PickleError) -> [(name: String, layout: TorchLayout)] {
    guard case .dictionary(let index) = root else { throw machine.error("no dictionary, expected that of a model") }
    var names: Set<[UInt8]> = []
    var result: [(name: String, layout: TorchLayout)] = []
    for (key, value) in machine.dictionaries[index] {
      // Other values than tensors are none of the model's.
      guard case .tensor(let tensor) = value else { continue }
      guard case .text(let range) = key else { throw machine.error("a tensor whose name is no text") }
      let name = machine.string(range)
      guard names.insert(Array(name.utf8)).inserted else {
        throw machine.error("two tensors are called \(quoted(name))")
      }
      guard names.count <= limitTensors else { throw machine.error("more than \(limitTensors) tensors") }
      result.append((name, machine.tensors[tensor]))
    }
    return result
  }

  private static func wrongPickle(_ file: InputFile, _ error: PickleError) -> Failure {
    Failure(.badData, at: file.path, "pickle, byte \(error.offset): \(error.message)")
  }

  // MARK: The zip format

  private static func readZip(_ file: InputFile) throws(Failure) -> [Tensor] {
    let archive = try ZipArchive(file)
    let suffix = Array("/data.pkl".utf8)
    guard
      let name = archive.records.keys.first(where: { $0.count > suffix.count && $0.suffix(suffix.count) == suffix[...] }
      ),
      let range = try archive.range(name)
    else { throw Failure(.badData, at: file.path, "zip: has no data.pkl, expected a file that torch.save wrote") }
    guard range.count <= limitPickleBytes else {
      throw Failure(.badData, at: file.path, "a pickle of \(range.count) bytes, expected at most \(limitPickleBytes)")
    }
    let folder = name.dropLast("data.pkl".utf8.count)
    if let order = try archive.range(folder + Array("byteorder".utf8)), order.count < 16,
      try file.bytes(order) != Array("little".utf8)
    {
      throw Failure(.badData, at: file.path, "was written on a big-endian machine", hint: "save it with safetensors")
    }
    let layouts: [(name: String, layout: TorchLayout)]
    var machine = PickleMachine(Bytes(try file.bytes(range)))
    do throws(PickleError) {
      layouts = try stateDictionary(machine.run(), machine)
    } catch {
      throw wrongPickle(file, error)
    }
    var tensors: [Tensor] = []
    for (name, layout) in layouts {
      guard let record = try archive.range(folder + Array("data/\(layout.storage.key)".utf8)) else {
        throw Failure(
          .badData, at: file.path,
          "tensor \(quoted(name)): the archive has no record data/\(quoted(layout.storage.key))")
      }
      let width = layout.storage.element.byteCount
      guard layout.storage.count <= record.count / width else {
        throw Failure(
          .badData, at: file.path,
          "tensor \(quoted(name)): a record of \(record.count) bytes, expected \(layout.storage.count) elements of \(width)"
        )
      }
      tensors.append(Tensor(name: name, layout: layout, storageStart: record.lowerBound))
    }
    return tensors
  }

  // MARK: The format before torch 1.6

  private static let magic: [UInt8] = [
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e,
  ]

  /// Five pickles: a magic number, the version, the machine, the dictionary and the storages' keys; then, for each key,
  /// the number of its elements and the elements.
  private static func readOldFormat(_ file: InputFile) throws(Failure) -> [Tensor] {
    let head = try file.bytes(0..<min(2 * limitPickleBytes, file.byteCount))
    guard head.starts(with: magic) else {
      throw Failure(.badData, at: file.path, "is no file that torch.save wrote")
    }
    let bytes = Bytes(head)
    let layouts: [(name: String, layout: TorchLayout)]
    var keys: [String] = []
    var position = magic.count
    do throws(PickleError) {
      for _ in 0..<2 {
        var machine = PickleMachine(bytes, from: position)
        _ = try machine.run()
        position = machine.position
      }
      var machine = PickleMachine(bytes, from: position)
      layouts = try stateDictionary(machine.run(), machine)
      var last = PickleMachine(bytes, from: machine.position)
      guard case .list(let list) = try last.run() else { throw last.error("no list of storages") }
      for key in last.lists[list] {
        guard case .text(let range) = key else { throw last.error("a storage whose key is no text") }
        keys.append(last.string(range))
      }
      position = last.position
    } catch {
      throw wrongPickle(file, error)
    }
    let starts = try storageStarts(file, keys, of: layouts.map(\.layout.storage), from: position)
    return layouts.map { Tensor(name: $0.name, layout: $0.layout, storageStart: starts[$0.layout.storage.key] ?? 0) }
  }

  /// Where the numbers of each storage begin.
  private static func storageStarts(
    _ file: InputFile, _ keys: [String], of storages: [TorchStorage], from position: Int
  ) throws(Failure) -> [String: Int] {
    func broken(_ message: String) -> Failure { Failure(.badData, at: file.path, message) }
    var known: [String: TorchStorage] = [:]
    for storage in storages {
      let other = known.updateValue(storage, forKey: storage.key)
      guard other == nil || other?.count == storage.count && other?.element == storage.element else {
        throw broken("storage \(quoted(storage.key)) has two types or sizes")
      }
    }
    var position = position
    var starts: [String: Int] = [:]
    for key in keys {
      guard position <= file.byteCount - 8, let count = Bytes(try file.bytes(position..<position + 8)).int(0, 8) else {
        throw broken("ends before storage \(quoted(key))")
      }
      guard let storage = known[key] else { throw broken("storage \(quoted(key)) belongs to no tensor") }
      let width = storage.element.byteCount
      guard count == storage.count, count <= (file.byteCount - position - 8) / width else {
        throw broken("storage \(quoted(key)) of \(count) elements, expected \(storage.count) within the file")
      }
      guard starts.updateValue(position + 8, forKey: key) == nil else { throw broken("storage \(quoted(key)) twice") }
      position += 8 + count * width
    }
    for storage in storages where starts[storage.key] == nil { throw broken("has no storage \(quoted(storage.key))") }
    return starts
  }

  // MARK: Numbers

  /// Overwrites `buffer`, which has the tensor's number of elements, with its values as `Float`.
  ///
  /// As `SafetensorsFile.readFloats`. Elements that do not lie in order, as those of a transposed matrix, are put in it.
  public func readFloats(_ tensor: Tensor, into buffer: UnsafeMutableBufferPointer<Float>) throws(Failure) {
    let layout = tensor.layout
    precondition(buffer.count == layout.count, "\(layout.count) elements of \(tensor.name) into \(buffer.count)")
    let start = tensor.storageStart + layout.offset * (layout.storage.element.byteCount)
    func info(_ shape: [Int], count: Int) -> TensorInfo {
      TensorInfo(
        name: tensor.name, dtype: layout.storage.element.type, dtypeName: layout.storage.element.name, shape: shape,
        byteRange: 0..<0, count: count)
    }
    guard !layout.isContiguous else {
      return try FloatReader(file: file, start: start, tensor: info(layout.shape, count: layout.count)).read(
        into: buffer)
    }
    // At most as large as the storage in the file.
    let span = UnsafeMutableBufferPointer<Float>.allocate(capacity: layout.span)
    defer { span.deallocate() }
    try FloatReader(file: file, start: start, tensor: info([layout.span], count: layout.span)).read(into: span)
    var place = [Int](repeating: 0, count: layout.shape.count)
    var index = 0
    for target in buffer.indices {
      buffer[target] = span[index]
      // The next place, row by row.
      for axis in layout.shape.indices.reversed() {
        place[axis] += 1
        index += layout.strides[axis]
        if place[axis] < layout.shape[axis] { break }
        index -= place[axis] * layout.strides[axis]
        place[axis] = 0
      }
    }
  }
}
