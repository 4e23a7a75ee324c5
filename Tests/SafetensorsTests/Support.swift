import Glibc
import Safetensors
import System
import Testing

/// A folder that is removed with its files when released.
final class TemporaryFolder {
  let path: String

  init() throws {
    var template = Array("/tmp/safetensors.XXXXXX\0".utf8CString)
    guard mkdtemp(&template) != nil else { throw Failure(.cannotCreate, "mkdtemp: \(lastSystemError())") }
    path = String(decoding: template.dropLast(2).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    for name in names { unlink("\(path)/\(name)") }
    rmdir(path)
  }

  /// The names in the folder, sorted.
  var names: [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Writes a file and returns its path.
  func write(_ bytes: [UInt8], as name: String = "model.safetensors") throws -> String {
    let path = "\(path)/\(name)"
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    defer { close(file) }
    guard file >= 0, Glibc.write(file, bytes, bytes.count) == bytes.count else {
      throw Failure(.ioError, at: path, lastSystemError())
    }
    return path
  }
}

/// A file of a header and data; `length` is what it says of the header's length.
func fileBytes(_ header: [UInt8], data: [UInt8] = [], length: UInt64? = nil) -> [UInt8] {
  let length = length ?? UInt64(header.count)
  return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) } + header + data
}

func fileBytes(_ header: String, dataBytes: Int = 0) -> [UInt8] {
  fileBytes(Array(header.utf8), data: (0..<dataBytes).map { UInt8(truncatingIfNeeded: $0 + 1) })
}

/// One tensor of the header.
func member(_ name: String, _ dtype: String, _ shape: String, _ offsets: String) -> String {
  "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
}

/// The bytes of numbers as they lie in memory.
func bytes<Value: BitwiseCopyable>(of values: [Value]) -> [UInt8] { values.withUnsafeBytes { Array($0) } }

extension SafetensorsFile {
  /// All values of a tensor.
  func floats(_ name: String) throws -> [Float] {
    let tensor = try #require(self.tensor(named: name), "no tensor \(name)")
    var values = [Float](repeating: .nan, count: tensor.count)
    try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try readFloats(tensor, into: buffer) }
    return values
  }

  /// All bytes of a tensor.
  func rawBytes(_ tensor: TensorInfo) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: tensor.byteRange.count)
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try read(tensor, into: UnsafeMutableRawBufferPointer(buffer))
    }
    return bytes
  }
}
