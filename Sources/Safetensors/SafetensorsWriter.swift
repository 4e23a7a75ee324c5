import System

/// Writes a safetensors file tensor by tensor; it appears under its name whole and durable, or not at all.
///
/// The header is computed from the shapes first, so that values stream from the caller's memory to the file.
public final class SafetensorsWriter {
  /// A tensor to be written.
  public struct Tensor: Sendable {
    public var name: String
    public var dtype: DType
    public var shape: [Int]

    public init(_ name: String, _ dtype: DType = .f32, shape: [Int]) {
      self.name = name
      self.dtype = dtype
      self.shape = shape
    }
  }

  private let file: AtomicFile
  private let tensors: [TensorInfo]
  /// The tensors that are written already.
  private var written = 0

  /// Begins the file. `tensors` is the order of the data; names must differ. transformers wants the `format`.
  public init(_ path: String, _ tensors: [Tensor], metadata: [String: String] = ["format": "pt"]) throws(Failure) {
    self.tensors = Self.infos(tensors)
    file = try AtomicFile(path)
    try file.write(Self.header(self.tensors, metadata))
  }

  /// What a file of such tensors begins with, in front of their values, which follow without gaps. For a file that several
  /// write.
  public static func header(_ tensors: [Tensor], metadata: [String: String] = ["format": "pt"]) -> [UInt8] {
    header(infos(tensors), metadata)
  }

  private static func infos(_ tensors: [Tensor]) -> [TensorInfo] {
    var infos: [TensorInfo] = []
    var end = 0
    for tensor in tensors {
      guard let count = elementCount(tensor.shape) else {
        preconditionFailure("\(tensor.name) has shape \(tensor.shape)")
      }
      let start = end
      end += count * tensor.dtype.byteCount
      infos.append(
        TensorInfo(name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, byteRange: start..<end, count: count))
    }
    precondition(Set(infos.map { Array($0.name.utf8) }).count == infos.count, "two tensors have one name")
    return infos
  }

  /// Writes the values of the next tensor, converted (rounded to nearest even) if it is F16 or BF16.
  ///
  /// A value that is not finite throws `.badData` with the element: what could not be read again is not saved.
  public func append(_ values: UnsafeBufferPointer<Float>) throws(Failure) {
    let tensor = next()
    precondition(values.count == tensor.count, "\(values.count) values for \(tensor.name) \(tensor.shape)")
    if let index = firstNonFinite(values) { throw unfit(tensor, index, values[index]) }
    switch tensor.dtype {
    case .f32: try file.write(UnsafeRawBufferPointer(values))
    case .f16:
      try convert(values, tensor) { (value: Float) in
        let half = Float16(value)
        return half.isFinite ? half.bitPattern : nil
      }
    case .bf16:
      try convert(values, tensor) { (value: Float) in
        let bits = value.bitPattern
        let rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16
        return rounded & 0x7f80 == 0x7f80 ? nil : UInt16(rounded)
      }
    default: preconditionFailure("\(tensor.name) is \(tensor.dtypeName): append its bytes")
    }
    written += 1
  }

  /// Writes the bytes of the next tensor as they are.
  public func append(bytes: UnsafeRawBufferPointer) throws(Failure) {
    let tensor = next()
    precondition(bytes.count == tensor.byteRange.count, "\(bytes.count) bytes for \(tensor.name) \(tensor.shape)")
    try file.write(bytes)
    written += 1
  }

  /// Makes the file durable and gives it its name. All tensors have been appended.
  public func commit() throws(Failure) {
    precondition(written == tensors.count, "\(written) of \(tensors.count) tensors are written")
    try file.commit()
  }

  private func next() -> TensorInfo {
    precondition(written < tensors.count, "all \(tensors.count) tensors are written already")
    return tensors[written]
  }

  private func convert(
    _ values: UnsafeBufferPointer<Float>, _ tensor: TensorInfo, _ bits: (Float) -> UInt16?
  ) throws(Failure) {
    let blockCount = 1 << 16
    var block: [UInt16] = []
    block.reserveCapacity(min(blockCount, values.count))
    for first in stride(from: 0, to: values.count, by: blockCount) {
      block.removeAll(keepingCapacity: true)
      for index in first..<min(first + blockCount, values.count) {
        guard let value = bits(values[index]) else { throw unfit(tensor, index, values[index]) }
        block.append(value)
      }
      try block.withUnsafeBufferPointer { (block) throws(Failure) in try file.write(UnsafeRawBufferPointer(block)) }
    }
  }

  private func unfit(_ tensor: TensorInfo, _ index: Int, _ value: Float) -> Failure {
    Failure(
      .badData, at: file.path, "\(tensor.element(index)) is \(value), expected a finite \(tensor.dtypeName)")
  }

  /// The length and the JSON, padded with spaces so that the data begin at a multiple of 8.
  private static func header(_ tensors: [TensorInfo], _ metadata: [String: String]) -> [UInt8] {
    var members = tensors.map { tensor in
      "\(json(tensor.name)):{\"dtype\":\"\(tensor.dtypeName)\","
        + "\"shape\":[\(tensor.shape.map(String.init).joined(separator: ","))],"
        + "\"data_offsets\":[\(tensor.byteRange.lowerBound),\(tensor.byteRange.upperBound)]}"
    }
    if !metadata.isEmpty {
      let entries = metadata.sorted { $0.key < $1.key }.map { "\(json($0.key)):\(json($0.value))" }
      members.insert("\"__metadata__\":{\(entries.joined(separator: ","))}", at: 0)
    }
    var text = Array("{\(members.joined(separator: ","))}".utf8)
    text.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - text.count % 8) % 8))
    return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text
  }

  /// `text` as a JSON string.
  private static func json(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": result += "\\\(scalar)"
      case _ where scalar.value < 0x20:
        let hex = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
