import Glibc
import Safetensors
import System
import TestSupport
import Testing

import struct System.ExitStatus  // Testing has one too.

@Suite("Writing")
struct WriteTests {
  private func write(
    _ path: String, _ tensors: [SafetensorsWriter.Tensor], _ values: [[Float]]
  ) throws {
    let writer = try SafetensorsWriter(path, tensors)
    for values in values {
      try values.withUnsafeBufferPointer { (values) throws(Failure) in try writer.append(values) }
    }
    try writer.commit()
  }

  @Test("the bytes are these")
  func exactBytes() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/a.safetensors"
    try write(path, [.init("b\"\\\n", shape: [1, 2]), .init("a", .bf16, shape: [])], [[1, -2], [3]])
    let header =
      #"{"__metadata__":{"format":"pt"},"b\"\\\u000a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"#
      + #""a":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}}"#
    let padding = [UInt8](repeating: 0x20, count: (8 - header.utf8.count % 8) % 8)
    let data = bytes(of: [Float(1), -2]) + bytes(of: [UInt16(0x4040)])
    #expect(try readBytes(path) == fileBytes(Array(header.utf8) + padding, data: data))
    #expect(folder.names == ["a.safetensors"])
  }

  @Test("data begin at a multiple of 8, whatever the names")
  func alignment() throws {
    let folder = try TemporaryFolder()
    for length in 1...9 {
      let path = "\(folder.path)/\(length)"
      try write(path, [.init(String(repeating: "n", count: length), shape: [3])], [[1, 2, 3]])
      #expect(try (readBytes(path).count - 12) % 8 == 0)
    }
  }

  @Test("what is written is read", arguments: [DType.f32, .f16, .bf16])
  func roundTrip(dtype: DType) throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/model.safetensors"
    // Exact in 8 bits of mantissa; more than one block.
    let values = (0..<150_001).map { Float(($0 % 255) - 127) / 64 }
    let empty = SafetensorsWriter.Tensor("empty", dtype, shape: [0, 3])
    try write(path, [.init("w", dtype, shape: [values.count]), empty, .init("x", shape: [])], [values, [], [0.1]])
    let file = try SafetensorsFile(path)
    #expect(try file.floats("w") == values && file.floats("empty") == [] && file.floats("x") == [0.1])
    #expect(file.metadata == ["format": "pt"])
  }

  @Test("bytes of other types pass unchanged")
  func rawBytes() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/state.safetensors"
    let steps: [Int64] = [7, -1]
    let writer = try SafetensorsWriter(path, [.init("steps", .i64, shape: [2])], metadata: [:])
    try steps.withUnsafeBufferPointer { (steps) throws(Failure) in
      try writer.append(bytes: UnsafeRawBufferPointer(steps))
    }
    try writer.commit()
    let file = try SafetensorsFile(path)
    #expect(try file.rawBytes(#require(file.tensors.first)) == bytes(of: steps) && file.metadata.isEmpty)
  }

  @Test("16-bit values are rounded to nearest, ties to even")
  func rounding() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/a"
    let values: [Float] = [0x1.01p0, 0x1.03p0, 0x1.010002p0, -0x1.01p0, 0x1p-133, 0x1.fep127, 0x1p-149]
    try write(path, [.init("a", .bf16, shape: [values.count])], [values])
    #expect(try SafetensorsFile(path).floats("a") == [1, 0x1.04p0, 0x1.02p0, -1, 0x1p-133, 0x1.fep127, 0])
    try write(path, [.init("a", .f16, shape: [3])], [[0x1.002p0, 65_519, 0x1p-24]])
    #expect(try SafetensorsFile(path).floats("a") == [1, 65_504, 0x1p-24])
  }

  @Test("a value that is not finite is refused, and the old file stays")
  func notFinite() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/a"
    try write(path, [.init("a", shape: [1])], [[5]])
    let cases: [(DType, Float, String)] = [
      (.f32, .nan, "nan"), (.f32, -.infinity, "-inf"), (.f16, 65_520, "65520.0"), (.bf16, 0x1.ffp127, "3.3961775e+38"),
    ]
    for (dtype, value, text) in cases {
      let failure = #expect(throws: Failure.self) {
        try write(path, [.init("w", dtype, shape: [2, 2])], [[0, 1, 2, value]])
      }
      #expect(failure == Failure(.badData, at: path, "w[1, 1] is \(text), expected a finite \(dtype.rawValue)"))
      #expect(folder.names == ["a"])
      #expect(try SafetensorsFile(path).floats("a") == [5])
    }
  }

  @Test("a folder that is not there is told")
  func noFolder() throws {
    let failure = #expect(throws: Failure.self) { try SafetensorsWriter("/nonexistent/a", []) }
    #expect(failure?.status == .cannotCreate)
  }

  @Test(
    "the reference checkpoint survives reading and writing",
    .needs(.reference))
  func referenceFile() throws {
    let golden = try Golden.inReference("golden")
    let source = try SafetensorsFile("\(golden)/tiny-bert/model.safetensors")
    #expect(source.tensor(named: "bert.embeddings.word_embeddings.weight")?.shape == [30_522, 64])
    #expect(source.tensor(named: "classifier.bias")?.shape == [2])
    let folder = try TemporaryFolder()
    let copy = "\(folder.path)/model.safetensors"
    let writer = try SafetensorsWriter(
      copy, source.tensors.map { .init($0.name, shape: $0.shape) }, metadata: source.metadata)
    for tensor in source.tensors {
      let values = try source.floats(tensor.name)
      try values.withUnsafeBufferPointer { (values) throws(Failure) in try writer.append(values) }
    }
    try writer.commit()
    let file = try SafetensorsFile(copy)
    for original in source.tensors {
      let tensor = try #require(file.tensor(named: original.name))
      #expect(try file.rawBytes(tensor) == source.rawBytes(original))
    }
    let gradients = try SafetensorsFile("\(golden)/gradients.safetensors")
    for tensor in gradients.tensors { #expect(try gradients.floats(tensor.name).count == tensor.count) }
  }
}
