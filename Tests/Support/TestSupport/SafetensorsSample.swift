/// A small good safetensors file, and changed copies of it.
package enum SafetensorsSample {
  private static let header: [UInt8] = {
    func member(_ name: String, _ dtype: String, _ shape: String, _ offsets: String) -> String {
      "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
    }
    return Array(
      ("{\"__metadata__\":{\"format\":\"pt\",\"k\":\"\\u00e9\"},\(member("w.a", "F32", "[2,3]", "[0,24]")),"
        + "\(member("é", "BF16", "[5]", "[24,34]")),\(member("z", "I64", "[0,7]", "[34,34]")),"
        + "\(member("s", "U8", "[]", "[34,35]")),\(member("h", "F16", "[1,1]", "[35,37]"))}  ").utf8)
  }()
  private static let data: [UInt8] = (0..<37).map { UInt8($0 * 7) }

  /// The words of a header.
  package static let dictionary: [[UInt8]] = [
    "\"s\":", "\"dtype\":\"F32\",", "\"shape\":[],", "F64", "I8", "\"__metadata__\":{},", "\"data_offsets\":[0,24]",
    ",\"x\":1",
    "9007199254740993", "18446744073709551615", "[4294967296,4294967296,4294967296]", "\"__metadata__\":null,",
    "F8_E4M3",
  ].map { Array($0.utf8) }

  package static var file: [UInt8] { bytes(header, data, length: UInt64(header.count)) }

  /// `file` changed mostly in the header, whose length is mostly set right again.
  package static func mutated(_ file: [UInt8], _ mutator: inout Mutator) -> [UInt8] {
    let length = (0..<8).reduce(UInt64(0)) { $0 | UInt64(file[$1]) << (8 * UInt64($1)) }
    guard length <= UInt64(file.count - 8) else {
      // It was changed before.
      var bytes = file
      mutator.change(&bytes)
      return bytes
    }
    let end = 8 + Int(length)
    var (header, data) = (Array(file[8..<end]), Array(file[end...]))
    if mutator.below(12) == 0 { mutator.change(&data) } else { mutator.change(&header) }
    var newLength = UInt64(header.count)
    if mutator.below(10) == 0 {
      newLength = mutator.pick([0, 1, newLength &- 1, newLength + 1, newLength + 37, 1 << 32, 1 << 63, .max])
    }
    return bytes(header, data, length: newLength)
  }

  private static func bytes(_ header: [UInt8], _ data: [UInt8], length: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) } + header + data
  }
}
