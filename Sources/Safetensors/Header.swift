/// The header of a file, checked against the length of the data that follows.
///
/// Format: https://huggingface.co/docs/safetensors/index#format
struct Header {
  var tensors: [TensorInfo] = []
  var metadata: [String: String] = [:]
  /// Places in `tensors` by the bytes of the name: names that are equal only after normalisation are one as `String`.
  var places: [[UInt8]: Int] = [:]

  /// The format's own limit.
  static let limitBytes = 100_000_000
  /// Far above any checkpoint's; keeps memory bounded by the file's size.
  static let limitTensors = 100_000
  static let limitRank = 64

  /// Reads `json`, sorts the tensors by their place and makes sure that they fill `dataBytes` without hole or overlap.
  init(json: UnsafeBufferPointer<UInt8>, dataBytes: Int) throws(JSONError) {
    var cursor = JSONCursor(bytes: json)
    var seen: Set<[UInt8]> = []
    try cursor.object("the header") { (cursor, key) throws(JSONError) in
      let name = String(decoding: key, as: UTF8.self)
      guard seen.insert(key).inserted else { throw cursor.error("\"\(quoted(name))\" appears twice") }
      guard seen.count <= Self.limitTensors else { throw cursor.error("more than \(Self.limitTensors) tensors") }
      if key == Array("__metadata__".utf8) {
        // Some writers say so that there is none.
        metadata = try cursor.null() ? [:] : Self.readMetadata(&cursor)
      } else {
        tensors.append(try Self.readTensor(name, &cursor))
      }
    }
    try cursor.expectEnd()
    try checkRanges(dataBytes: dataBytes, end: cursor.position)
    for (place, tensor) in tensors.enumerated() { places[Array(tensor.name.utf8)] = place }
  }

  private static func readMetadata(_ cursor: inout JSONCursor) throws(JSONError) -> [String: String] {
    var metadata: [String: String] = [:]
    try cursor.object("__metadata__") { (cursor, key) throws(JSONError) in
      let name = String(decoding: key, as: UTF8.self)
      let value = try cursor.text("the metadata \"\(quoted(name))\"")
      guard metadata.updateValue(value, forKey: name) == nil else {
        throw cursor.error("the metadata \"\(quoted(name))\" appears twice")
      }
      guard metadata.count <= limitTensors else { throw cursor.error("more than \(limitTensors) entries of metadata") }
    }
    return metadata
  }

  private static func readTensor(_ name: String, _ cursor: inout JSONCursor) throws(JSONError) -> TensorInfo {
    let label = "tensor \(quoted(name))"
    var dtype: String?
    var shape: [Int]?
    var offsets: [Int]?
    try cursor.object(label) { (cursor, key) throws(JSONError) in
      let isSecond: Bool
      switch String(decoding: key, as: UTF8.self) {
      case "dtype":
        isSecond = dtype != nil
        dtype = try cursor.text("the dtype of \(label)")
      case "shape":
        isSecond = shape != nil
        shape = try cursor.wholeNumbers("the shape of \(label)", limit: limitRank)
      case "data_offsets":
        isSecond = offsets != nil
        offsets = try cursor.wholeNumbers("data_offsets of \(label)", limit: 2)
      case let other:
        throw cursor.error("\(label): \"\(quoted(other))\", expected dtype, shape or data_offsets")
      }
      if isSecond { throw cursor.error("\(label): \"\(String(decoding: key, as: UTF8.self))\" appears twice") }
    }
    guard let dtype, let shape, let offsets, offsets.count == 2 else {
      throw cursor.error("\(label): expected dtype, shape and two data_offsets")
    }
    guard offsets[0] <= offsets[1] else {
      throw cursor.error("\(label): data_offsets \(offsets), expected begin <= end")
    }
    // The next writer's types are not known yet. Their tensors do no harm where nobody reads them.
    let type = DType(rawValue: dtype)
    let width = type?.byteCount ?? 1
    guard let count = elementCount(shape), !count.multipliedReportingOverflow(by: width).overflow else {
      throw cursor.error("\(label): shape \(shape) has too many elements")
    }
    guard type == nil || count * width == offsets[1] - offsets[0] else {
      throw cursor.error(
        "\(label): data_offsets \(offsets) hold \(offsets[1] - offsets[0]) bytes, "
          + "expected \(count * width) for \(dtype) \(shape)")
    }
    return TensorInfo(
      name: name, dtype: type, dtypeName: quoted(dtype), shape: shape, byteRange: offsets[0]..<offsets[1], count: count)
  }

  private mutating func checkRanges(dataBytes: Int, end headerEnd: Int) throws(JSONError) {
    tensors.sort {
      ($0.byteRange.lowerBound, $0.byteRange.upperBound) < ($1.byteRange.lowerBound, $1.byteRange.upperBound)
    }
    var end = 0
    for tensor in tensors {
      guard tensor.byteRange.lowerBound == end else {
        let begin = tensor.byteRange.lowerBound
        let problem = begin < end ? "overlaps the tensor before" : "leaves a hole before it"
        throw JSONError(
          offset: headerEnd,
          message: "tensor \(quoted(tensor.name)): data begins at \(begin) and \(problem), expected \(end)")
      }
      end = tensor.byteRange.upperBound
      guard end <= dataBytes else {
        throw JSONError(
          offset: headerEnd,
          message: "tensor \(quoted(tensor.name)): data ends at \(end), but the file has \(dataBytes) bytes of data")
      }
    }
    guard end == dataBytes else {
      throw JSONError(
        offset: headerEnd, message: "\(dataBytes - end) bytes follow the last tensor, expected none")
    }
  }
}
