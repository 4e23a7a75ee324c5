import System

/// A safetensors file open for reading. Everything in its header is checked when it is opened.
public final class SafetensorsFile: Sendable {
  public var path: String { file.path }
  /// All tensors in the order of their data.
  public let tensors: [TensorInfo]
  /// The strings that the writer noted, such as `format`.
  public let metadata: [String: String]
  private let places: [[UInt8]: Int]
  let file: InputFile
  /// The first byte after the header.
  let dataStart: Int

  /// Opens the file and reads its header. Throws `.badData` with the file, the tensor and what was expected.
  public init(_ path: String) throws(Failure) {
    file = try InputFile(path)
    guard file.byteCount >= 8 else {
      throw Failure(.badData, at: path, "has \(file.byteCount) bytes, expected a safetensors file")
    }
    let prefix = try Self.read(file, 0..<8)
    let length = prefix.enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << (8 * UInt64($1.offset)) }
    guard let headerBytes = Int(exactly: length), headerBytes <= Header.limitBytes else {
      throw Failure(
        .badData, at: path, "header of \(length) bytes, expected at most \(Header.limitBytes)",
        hint: Self.otherFormat(prefix))
    }
    guard headerBytes <= file.byteCount - 8 else {
      throw Failure(
        .badData, at: path, "header of \(headerBytes) bytes, but the file has \(file.byteCount) bytes",
        hint: Self.otherFormat(prefix))
    }
    dataStart = 8 + headerBytes
    let json = try Self.read(file, 8..<dataStart)
    let dataBytes = file.byteCount - dataStart
    let header: Header
    do throws(JSONError) {
      header = try json.withUnsafeBufferPointer { (json) throws(JSONError) in
        try Header(json: json, dataBytes: dataBytes)
      }
    } catch {
      throw Failure(.badData, at: path, "header, byte \(error.offset): \(error.message)")
    }
    tensors = header.tensors
    metadata = header.metadata
    places = header.places
  }

  /// The tensor of exactly this name, compared byte by byte.
  public func tensor(named name: String) -> TensorInfo? { places[Array(name.utf8)].map { tensors[$0] } }

  /// Overwrites `buffer`, which has the tensor's number of bytes, with the bytes as they are in the file.
  public func read(_ tensor: TensorInfo, into buffer: UnsafeMutableRawBufferPointer) throws(Failure) {
    precondition(
      buffer.count == tensor.byteRange.count, "\(tensor.byteRange.count) bytes of \(tensor.name) into \(buffer.count)")
    try FloatReader(file: file, start: dataStart + tensor.byteRange.lowerBound, tensor: tensor)
      .readBytes(from: 0, into: buffer)
  }

  private static func read(_ file: InputFile, _ range: Range<Int>) throws(Failure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try file.read(into: UnsafeMutableRawBufferPointer(buffer), at: range.lowerBound)
    }
    return bytes
  }

  /// What a file with a senseless header length probably is.
  private static func otherFormat(_ prefix: [UInt8]) -> String? {
    let kinds: [([UInt8], String)] = [
      (Array("PK".utf8) + [3, 4], "a zip archive, as torch.save writes: as pytorch_model.bin it is read"),
      ([0x80], "a Python pickle, as old versions of torch.save write: as pytorch_model.bin it is read"),
      ([0x1f, 0x8b], "gzip: unpack it first"),
      (Array("version ".utf8), "a Git LFS pointer: fetch the file with `git lfs pull`"),
      (Array("<".utf8), "a web page: the download went wrong"),
    ]
    return kinds.first { prefix.starts(with: $0.0) }.map { "this looks like \($0.1)" }
  }
}
