import Safetensors
import Testing

/// A file from outside that is not what it should be, and the words that its failure must have.
struct BadFile: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var bytes: @Sendable () -> [UInt8]
  var text: String

  init(_ name: String, _ bytes: @escaping @autoclosure @Sendable () -> [UInt8], _ text: String) {
    testDescription = name
    self.bytes = bytes
    self.text = text
  }

  /// A header before 8 bytes of data.
  init(_ name: String, header: String, _ text: String) {
    self.init(name, fileBytes(header, dataBytes: 8), text)
  }

  /// One tensor "a" of two F32, whose shape or offsets are replaced.
  init(_ name: String, shape: String = "[2]", offsets: String = "[0,8]", _ text: String) {
    self.init(name, header: "{\(member("a", "F32", shape, offsets))}", text)
  }
}

/// The tables of `BadFileTests`.
extension BadFile {
  static let a = member("a", "F32", "[1]", "[0,4]")

  static let lengths = [
    BadFile("empty", [], "has 0 bytes, expected a safetensors file"),
    BadFile("seven bytes", [2, 0, 0, 0, 0, 0, 0], "has 7 bytes"),
    BadFile("header of no bytes", fileBytes([]), "header, byte 0: ends, expected { of the header"),
    BadFile(
      "N = 2^64 - 1", fileBytes([], length: .max), "header of 18446744073709551615 bytes, expected at most 100000000"),
    BadFile("N = 2^63", fileBytes([], length: 1 << 63), "header of 9223372036854775808 bytes"),
    BadFile("N = 100,000,001", fileBytes([], length: 100_000_001), "header of 100000001 bytes, expected at most"),
    BadFile("N past the file", fileBytes([123, 125], length: 3), "header of 3 bytes, but the file has 10 bytes"),
    BadFile("zip", fileBytes([], length: 0x0000_0014_0403_4b50), "this looks like a zip archive"),
    BadFile("pickle", fileBytes([], length: 0x8b00_0000_0000_0280), "this looks like a Python pickle"),
    BadFile("gzip", fileBytes([], length: 0x0300_0000_0008_8b1f), "this looks like gzip"),
    BadFile("Git LFS", Array("version https://git-lfs.github.com/spec/v1\n".utf8), "a Git LFS pointer"),
    BadFile("web page", Array("<!DOCTYPE html><html></html>".utf8), "a web page"),
  ]

  static let texts = [
    BadFile("byte FF", fileBytes([0xff]), "byte 0: byte 0xff, expected { of the header"),
    BadFile("open brace", header: "{", "byte 1: ends, expected \" of a key"),
    BadFile("a list", header: "[]", "\"[\", expected {"),
    BadFile("BOM", header: "\u{FEFF}{}", "byte 0: byte 0xef, expected {"),
    BadFile("UTF-16", fileBytes(Array("{}".utf16.flatMap { [UInt8($0), 0] })), "byte 1: byte 0x0"),
    BadFile("more after the end", header: "{} {}", "byte 3: \"{\", expected the end"),
    BadFile("NUL padding", header: "{}\0\0", "byte 0x0, expected the end"),
    BadFile("comma at the end", header: "{\(a),}", "expected \" of a key of the header"),
    BadFile("no comma", header: "{\(a) \(a)}", "expected , or } in the header"),
    BadFile("no colon", header: "{\"a\" 1}", "expected : after a key"),
    BadFile("tensor is a number", header: "{\"a\":1}", "\"1\", expected { of tensor a"),
    BadFile("tensor is null", header: "{\"a\":null}", "expected { of tensor a"),
    BadFile("name not UTF-8", fileBytes(Array("{\"".utf8) + [0xc0, 0x80] + Array("\":{}}".utf8)), "is not UTF-8"),
    BadFile(
      "surrogate in UTF-8", fileBytes(Array("{\"".utf8) + [0xed, 0xa0, 0x80] + Array("\":{}}".utf8)), "is not UTF-8"),
    BadFile("half a surrogate pair", header: #"{"\ud83d":{}}"#, "half a surrogate pair"),
    BadFile("two high surrogates", header: #"{"\ud83d\ud83d":{}}"#, "half a surrogate pair"),
    BadFile("low surrogate", header: #"{"\ude00":{}}"#, "half a surrogate pair"),
    BadFile("bad escape", header: #"{"\x41":{}}"#, "expected an escape"),
    BadFile("bad hex", header: #"{"\u00g1":{}}"#, "expected a hexadecimal digit"),
    BadFile("newline in a name", header: "{\"a\nb\":{}}", "control character"),
    BadFile("name without end", header: "{\"abc", "ends in a key"),
    BadFile(
      "nested 100,000 deep", header: "{\"a\":" + String(repeating: "[", count: 100_000), "\"[\", expected { of tensor a"
    ),
    BadFile(
      "nested in the shape", header: "{\(member("a", "F32", String(repeating: "[", count: 100_000), "[0,8]"))}",
      "expected a whole number in the shape of tensor a"),
  ]

  static let members = [
    BadFile("a tensor twice", header: "{\(a),\(member("a", "F32", "[1]", "[4,8]"))}", "\"a\" appears twice"),
    BadFile(
      "a tensor twice, once escaped", header: "{\(a),\(member(#"\u0061"#, "F32", "[1]", "[4,8]"))}",
      "\"a\" appears twice"),
    BadFile(
      "a shape twice", header: #"{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}"#,
      "tensor a: \"shape\" appears twice"),
    BadFile(
      "a dtype twice", header: #"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
      "tensor a: \"dtype\" appears twice"),
    BadFile(
      "offsets twice", header: #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8]}}"#,
      "tensor a: \"data_offsets\" appears twice"),
    BadFile(
      "no dtype", header: #"{"a":{"shape":[2],"data_offsets":[0,8]}}"#,
      "tensor a: expected dtype, shape and two data_offsets"),
    BadFile("no shape", header: #"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#, "tensor a: expected dtype, shape"),
    BadFile("no offsets", header: #"{"a":{"dtype":"F32","shape":[2]}}"#, "tensor a: expected dtype, shape"),
    BadFile(
      "another key", header: #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}"#,
      "tensor a: \"x\", expected dtype"),
    BadFile(
      "metadata nul", header: "{\"__metadata__\":nul,\(member("a", "F32", "[2]", "[0,8]"))}", "expected null or {"),
    BadFile(
      "dtype a number", header: #"{"a":{"dtype":1,"shape":[2],"data_offsets":[0,8]}}"#,
      "expected \" of the dtype of tensor a"),
    BadFile(
      "metadata a number", header: "{\"__metadata__\":{\"n\":1},\(member("a", "F32", "[2]", "[0,8]"))}",
      "expected \" of the metadata \"n\""),
    BadFile("metadata a text", header: "{\"__metadata__\":\"x\"}", "expected { of __metadata__"),
    BadFile("metadata null, then no data", header: "{\"__metadata__\":null}", "8 bytes follow the last tensor"),
    BadFile(
      "metadata twice", header: "{\"__metadata__\":{},\"__metadata__\":{},\(member("a", "F32", "[2]", "[0,8]"))}",
      "\"__metadata__\" appears twice"),
    BadFile(
      "a key of metadata twice", header: #"{"__metadata__":{"k":"1","k":"2"}}"#, "the metadata \"k\" appears twice"),
  ]

  static let numbers =
    ["1e2", "2.0", "2E0", "true", "\"2\"", "null", "-2", "+2", "02", "[2]", "0x2", "２", "2_0", ""].map {
      BadFile("shape [\($0)]x", shape: "[\($0),1]", "the shape of tensor a")
    } + [
      BadFile("shape 2^53 + 1", shape: "[9007199254740993]", "a number in the shape of tensor a is more than 2^53"),
      BadFile("shape 2^64 - 1", shape: "[18446744073709551615]", "is more than 2^53"),
      BadFile("shape of 10,000 digits", shape: "[\(String(repeating: "9", count: 10_000))]", "is more than 2^53"),
      BadFile("shape [2, 2^63 - 1]", shape: "[2,9223372036854775807]", "is more than 2^53"),
      BadFile("elements overflow", shape: "[4503599627370496,4503599627370496]", "has too many elements"),
      BadFile("bytes overflow", shape: "[4503599627370496,1024]", "has too many elements"),
      BadFile("shape a number", shape: "2", "\"2\", expected [ of the shape of tensor a"),
      BadFile(
        "shape of 65", shape: "[\(Array(repeating: "1", count: 65).joined(separator: ","))]", "more than 64 numbers"),
      BadFile("shape ends with a comma", shape: "[2,]", "\"]\", expected a whole number in the shape"),
      BadFile("offset 0.0", offsets: "[0.0,8]", "expected a whole number in data_offsets of tensor a"),
      BadFile("offset 8e0", offsets: "[0,8e0]", "expected a whole number in data_offsets of tensor a"),
      BadFile("offset negative", offsets: "[-8,0]", "expected a whole number in data_offsets of tensor a"),
      BadFile("offset 2^64 - 1", offsets: "[0,18446744073709551615]", "a number in data_offsets of tensor a is more"),
      BadFile("one offset", offsets: "[8]", "expected dtype, shape and two data_offsets"),
      BadFile("three offsets", offsets: "[0,8,8]", "data_offsets of tensor a has more than 2 numbers"),
    ]

  static let ranges = [
    BadFile("end before begin", offsets: "[8,0]", "tensor a: data_offsets [8, 0], expected begin <= end"),
    BadFile(
      "too short for the shape", offsets: "[0,4]",
      "tensor a: data_offsets [0, 4] hold 4 bytes, expected 8 for F32 [2]"),
    BadFile("too long for the shape", shape: "[1]", "hold 8 bytes, expected 4 for F32 [1]"),
    BadFile("zero-size with bytes", shape: "[0,2]", "hold 8 bytes, expected 0"),
    BadFile(
      "one range twice", header: "{\(a),\(member("b", "F32", "[1]", "[0,4]"))}",
      "tensor b: data begins at 0 and overlaps the tensor before, expected 4"),
    BadFile(
      "overlap", header: "{\(member("a", "F16", "[3]", "[0,6]")),\(member("b", "F32", "[1]", "[4,8]"))}",
      "tensor b: data begins at 4 and overlaps the tensor before, expected 6"),
    BadFile(
      "hole", header: "{\(a),\(member("b", "U8", "[3]", "[5,8]"))}",
      "tensor b: data begins at 5 and leaves a hole before it, expected 4"),
    BadFile(
      "first offset not 0", header: "{\(member("a", "F32", "[1]", "[4,8]"))}",
      "tensor a: data begins at 4 and leaves a hole"),
    BadFile(
      "cut by 2 bytes", fileBytes("{\(member("a", "F32", "[2]", "[0,8]"))}", dataBytes: 6),
      "tensor a: data ends at 8, but the file has 6 bytes of data"),
    BadFile("trailing bytes", header: "{\(a)}", "4 bytes follow the last tensor, expected none"),
    BadFile("data without tensors", header: "{}", "8 bytes follow the last tensor"),
  ]

  static let large = [
    BadFile("1,000,000 tensors", millionTensors(), "more than 100000 tensors"),
    BadFile("1,000,000 metadata entries", millionEntries(), "more than 100000 entries of metadata"),
    BadFile(
      "99 MB of blanks", fileBytes([UInt8](repeating: 0x20, count: 99_000_000)), "ends, expected { of the header"),
    BadFile(
      "99 MB of nesting", fileBytes(Array("{\"a\":".utf8) + [UInt8](repeating: 0x5b, count: 99_000_000)),
      "expected { of tensor a"),
    BadFile(
      "a name of 50 MB",
      fileBytes(Array("{\"".utf8) + [UInt8](repeating: 0x61, count: 50_000_000) + Array("\":1}".utf8)),
      "a key of the header has 50000000 bytes, expected at most 10000"),
  ]

  private static func millionTensors() -> [UInt8] {
    var header: [UInt8] = []
    header.reserveCapacity(99_000_000)
    for index in 0..<1_000_000 {
      header += Array((index == 0 ? "{" : ",").utf8)
      header += Array(member("layer.\(index).weight", "F32", "[0,16,16]", "[0,0]").utf8)
    }
    return fileBytes(header + Array("}".utf8))
  }

  private static func millionEntries() -> [UInt8] {
    var header = Array("{\"__metadata__\":{\"a\":\"\"".utf8)
    for index in 0..<1_000_000 { header += Array(",\"\(index)\":\"\"".utf8) }
    return fileBytes(header + Array("}}".utf8))
  }
}
