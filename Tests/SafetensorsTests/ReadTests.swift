import Glibc
import Safetensors
import System
import Testing

import struct System.ExitStatus  // Testing has one too.

@Suite("Reading")
struct ReadTests {
  @Test("a header in any order, with blanks, escapes and metadata")
  func legalHeader() throws {
    let folder = try TemporaryFolder()
    let header =
      " \n{ \"__metadata__\" : { \"format\" : \"pt\", \"\\u00e9\\n\\\"\\ud83d\\ude00\" : \"\" } ,\t"
      + "\"b\":{\"data_offsets\":[4 , 8],\"shape\":[1],\"dtype\":\"F32\"},"
      + "\(member("a", "F32", "[ 1 ]", "[0,4]")) }\r\n  "
    let data = bytes(of: [Float(1.5), -2])
    let file = try SafetensorsFile(folder.write(fileBytes(Array(header.utf8), data: data)))
    #expect(file.tensors.map(\.name) == ["a", "b"])
    #expect(file.tensors.map(\.byteRange) == [0..<4, 4..<8])
    #expect(file.metadata == ["format": "pt", "é\n\"\u{1F600}": ""])
    #expect(try file.floats("a") == [1.5] && file.floats("b") == [-2])
    #expect(try file.tensors.flatMap { try file.rawBytes($0) } == data)
    #expect(file.tensor(named: "c") == nil)
  }

  @Test("no tensors, empty metadata")
  func emptyHeader() throws {
    let folder = try TemporaryFolder()
    for header in ["{}", "{\"__metadata__\":{}}"] {
      let file = try SafetensorsFile(folder.write(fileBytes(header)))
      #expect(file.tensors.isEmpty && file.metadata.isEmpty)
    }
  }

  @Test("zero-size tensors, single numbers, 64 dimensions")
  func shapes() throws {
    let folder = try TemporaryFolder()
    let ones = "[\(Array(repeating: "1", count: 64).joined(separator: ","))]"
    let header =
      "{\(member("z", "F32", "[3,0,9007199254740992]", "[0,0]")),\(member("s", "F32", "[]", "[0,4]")),"
      + "\(member("y", "F16", "[0]", "[4,4]")),\(member("d", "F32", ones, "[4,8]")),"
      + "\(member("x", "I64", "[0]", "[8,8]"))}"
    let file = try SafetensorsFile(folder.write(fileBytes(Array(header.utf8), data: bytes(of: [Float(3), 4]))))
    #expect(try file.floats("z") == [] && file.floats("y") == [] && file.floats("s") == [3] && file.floats("d") == [4])
    #expect(file.tensor(named: "d")?.shape.count == 64)
    #expect(throws: Failure.self) { try file.floats("x") }
  }

  @Test("names that are equal only after normalisation are two")
  func normalisation() throws {
    let folder = try TemporaryFolder()
    let header = "{\(member("\u{e9}", "F32", "[1]", "[0,4]")),\(member("e\u{301}", "F32", "[1]", "[4,8]"))}"
    let file = try SafetensorsFile(folder.write(fileBytes(Array(header.utf8), data: bytes(of: [Float(1), 2]))))
    #expect(file.tensors.count == 2)
    #expect(try file.floats("\u{e9}") == [1] && file.floats("e\u{301}") == [2])
  }

  @Test("every finite half and bfloat16, signed zeros and subnormals too")
  func smallFloats() throws {
    let folder = try TemporaryFolder()
    let patterns = (0...UInt16.max)
    let halves = patterns.filter { Float16(bitPattern: $0).isFinite }
    let brains = patterns.filter { $0 & 0x7f80 != 0x7f80 }
    // Three bytes first: data that are not aligned.
    let header =
      "{\(member("u", "U8", "[3]", "[0,3]")),"
      + "\(member("h", "F16", "[\(halves.count)]", "[3,\(3 + 2 * halves.count)]")),"
      + member("b", "BF16", "[\(brains.count)]", "[\(3 + 2 * halves.count),\(3 + 2 * halves.count + 2 * brains.count)]")
      + "}"
    let data = [1, 2, 3] + bytes(of: halves) + bytes(of: brains)
    let file = try SafetensorsFile(folder.write(fileBytes(Array(header.utf8), data: data)))
    #expect(try file.floats("h").map(\.bitPattern) == halves.map { Float(Float16(bitPattern: $0)).bitPattern })
    #expect(try file.floats("b").map(\.bitPattern) == brains.map { UInt32($0) << 16 })
  }

  @Test("doubles are rounded to nearest; what is too large for a float is refused")
  func doubles() throws {
    let folder = try TemporaryFolder()
    let good = [0.1, -1e-50, 3.4028234e38, 16_777_217]
    let header = "{\(member("d", "F64", "[2,2]", "[0,32]"))}"
    let file = try SafetensorsFile(folder.write(fileBytes(Array(header.utf8), data: bytes(of: good))))
    #expect(try file.floats("d").map(\.bitPattern) == good.map { Float($0).bitPattern })
    let tooLarge = try SafetensorsFile(
      folder.write(fileBytes(Array(header.utf8), data: bytes(of: [0, 1, 1e39, 2])), as: "large"))
    let failure = #expect(throws: Failure.self) { try tooLarge.floats("d") }
    #expect(failure?.message == "d[1, 0] is inf, expected a finite number")
  }

  @Test(
    "NaN and infinity are refused with their element, wherever they are", arguments: [0, 15, 16, 17, 300_000, 599_999])
  func notFinite(index: Int) throws {
    let folder = try TemporaryFolder()
    let count = 600_000
    var floats = [Float](repeating: .leastNonzeroMagnitude, count: count)
    floats[7] = .greatestFiniteMagnitude
    floats[9] = -.greatestFiniteMagnitude
    let header = Array("{\(member("query.weight", "F32", "[2000,300]", "[0,\(4 * count)]"))}".utf8)
    let file = try SafetensorsFile(folder.write(fileBytes(header, data: bytes(of: floats))))
    #expect(try file.floats("query.weight") == floats)
    for (value, text) in [(Float.nan, "nan"), (.infinity, "inf"), (-.infinity, "-inf"), (.signalingNaN, "nan")] {
      var wrong = floats
      wrong[index] = value
      let file = try SafetensorsFile(folder.write(fileBytes(header, data: bytes(of: wrong)), as: "wrong"))
      let failure = #expect(throws: Failure.self) { try file.floats("query.weight") }
      #expect(failure?.status == .badData && failure?.place == file.path)
      let place = "query.weight[\(index / 300), \(index % 300)]"
      // A signalling NaN may print as one or be quieted on the way.
      #expect(failure?.message.hasPrefix("\(place) is ") == true && failure?.message.contains(text) == true)
    }
  }

  @Test("16-bit NaN and infinity are refused too", arguments: ["F16", "BF16"])
  func smallNotFinite(dtype: String) throws {
    let folder = try TemporaryFolder()
    let header = Array("{\(member("a", dtype, "[3]", "[0,6]"))}".utf8)
    for bits: UInt16 in dtype == "F16" ? [0x7c00, 0xfc00, 0x7c01, 0x7e00] : [0x7f80, 0xff80, 0x7f81, 0xffff] {
      let file = try SafetensorsFile(folder.write(fileBytes(header, data: bytes(of: [0, 1, bits]))))
      let failure = #expect(throws: Failure.self) { try file.floats("a") }
      #expect(failure?.message.hasPrefix("a[2] is ") == true)
    }
  }

  @Test("whole numbers are no weights", arguments: ["I64", "F8_E4M3", "BOOL", "U16"])
  func otherTypes(dtype: String) throws {
    let folder = try TemporaryFolder()
    let width = try #require(DType(rawValue: dtype)).byteCount
    let file = try SafetensorsFile(
      folder.write(fileBytes("{\(member("n", dtype, "[1]", "[0,\(width)]"))}", dataBytes: width)))
    let failure = #expect(throws: Failure.self) { try file.floats("n") }
    #expect(failure == Failure(.badData, at: file.path, "tensor n: dtype \(dtype), expected F32, F16, BF16 or F64"))
    #expect(try file.rawBytes(#require(file.tensors.first)) == (1...UInt8(width)).map { $0 })
  }

  @Test("metadata may be null: some writers say so that there is none")
  func nullMetadata() throws {
    let folder = try TemporaryFolder()
    let header = "{\"__metadata__\" : null,\(member("a", "F32", "[2]", "[0,8]"))}"
    let file = try SafetensorsFile(folder.write(fileBytes(header, dataBytes: 8)))
    #expect(file.metadata == [:] && file.tensors.map(\.name) == ["a"])
  }

  @Test(
    "a tensor of a type that is not known here may be in the file, but is not read", arguments: ["C64", "F4", "f32"])
  func unknownType(dtype: String) throws {
    let folder = try TemporaryFolder()
    let header = "{\(member("a", "F32", "[1]", "[0,4]")),\(member("x", dtype, "[3]", "[4,9]"))}"
    let file = try SafetensorsFile(folder.write(fileBytes(header, dataBytes: 9)))
    #expect(try file.floats("a").count == 1)
    let failure = #expect(throws: Failure.self) { try file.floats("x") }
    #expect(failure?.message == "tensor x: dtype \(dtype), expected F32, F16, BF16 or F64")
  }
}
