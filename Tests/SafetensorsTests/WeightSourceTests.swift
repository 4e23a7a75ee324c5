import FileSystem
import Safetensors
import Testing

import enum FileSystem.ExitStatus  // Testing has one too.

@Suite("Checkpoint folders")
struct WeightSourceTests {
  private let folder: TemporaryFolder
  private var index: String { "\(folder.path)/model.safetensors.index.json" }

  init() throws {
    folder = try TemporaryFolder()
    _ = try folder.write(
      fileBytes(
        Array("{\(member("a", "F32", "[1]", "[0,4]")),\(member("b", "F32", "[1]", "[4,8]"))}".utf8),
        data: bytes(of: [Float(1), 2])), as: "one.safetensors")
    _ = try folder.write(
      fileBytes(Array("{\(member("c", "F32", "[1]", "[0,4]"))}".utf8), data: bytes(of: [Float(3)])),
      as: "two.safetensors")
  }

  private func value(_ source: WeightSource, _ name: String) throws -> Float {
    let entry = try #require(source.tensor(named: name))
    var value = Float.nan
    try withUnsafeMutablePointer(to: &value) { (pointer) throws(Failure) in
      try entry.readFloats(into: UnsafeMutableBufferPointer(start: pointer, count: 1))
    }
    return value
  }

  @Test("shards are one lookup")
  func shards() throws {
    let json = """
      {"metadata": {"total_size": 12, "ratio": -1.5e3, "list": [1, {"x": null}, []], "flag": true},
       "weight_map": {"c": "two.safetensors", "b": "one.safetensors", "a": "one.safetensors"}}
      """
    _ = try folder.write(Array(json.utf8), as: "model.safetensors.index.json")
    let source = try WeightSource(folder: folder.path)
    #expect(source.entries.map(\.info.name) == ["c", "a", "b"])
    #expect(try value(source, "a") == 1 && value(source, "b") == 2 && value(source, "c") == 3)
    #expect(source.tensor(named: "d") == nil && source.path == index)
  }

  @Test("a single file comes before an index")
  func single() throws {
    _ = try folder.write(Array("nonsense".utf8), as: "model.safetensors.index.json")
    _ = try folder.write(readBytes("\(folder.path)/two.safetensors"), as: "model.safetensors")
    let source = try WeightSource(folder: folder.path)
    #expect(source.entries.map(\.info.name) == ["c"] && source.path == "\(folder.path)/model.safetensors")
  }

  @Test(
    "an index that is wrong is refused",
    arguments: [
      (#"{"weight_map":{"a":"two.safetensors"}}"#, "tensor a is not in two.safetensors"),
      (#"{"weight_map":{"a":"one.safetensors","a":"one.safetensors"}}"#, "tensor a appears twice"),
      (#"{"weight_map":{},"weight_map":{}}"#, "\"weight_map\" appears twice"),
      (#"{"weight_map":{"a":"../one.safetensors"}}"#, "shard \"../one.safetensors\" of a, expected a plain file name"),
      (#"{"weight_map":{"a":"/etc/passwd"}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":"x\u002fy"}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":".."}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":""}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":"one\u0000"}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":1}}"#, "expected \" of the shard of a"),
      (#"{"weight_map":["a"]}"#, "expected { of weight_map"),
      (#"{"metadata":{}}"#, "expected \"weight_map\""),
      (#"{"metadata":[}"#, "expected another bracket"),
      (#"{"metadata":,"weight_map":{}}"#, "expected a value"),
      (#"{"metadata":"# + String(repeating: "[", count: 100), "nested more than 64 deep"),
      ("[]", "expected { of the index"),
      ("", "ends, expected { of the index"),
    ])
  func refused(json: String, text: String) throws {
    _ = try folder.write(Array(json.utf8), as: "model.safetensors.index.json")
    let failure = #expect(throws: Failure.self) { try WeightSource(folder: folder.path) }
    #expect(failure?.status == .badData && failure?.place == index)
    #expect(failure?.description.contains(text) == true, "\(failure as Any)")
  }

  @Test("what is missing is told")
  func missing() throws {
    let nothing = #expect(throws: Failure.self) { try WeightSource(folder: folder.path) }
    #expect(nothing?.status == .missingInput && nothing?.message.hasPrefix("has neither model.safetensors nor") == true)
    _ = try folder.write([], as: "pytorch_model.bin")
    let pickle = #expect(throws: Failure.self) { try WeightSource(folder: folder.path) }
    #expect(pickle?.hint?.contains("pickle") == true)
    _ = try folder.write(Array(#"{"weight_map":{"a":"three.safetensors"}}"#.utf8), as: "model.safetensors.index.json")
    let shard = #expect(throws: Failure.self) { try WeightSource(folder: folder.path) }
    #expect(shard?.status == .missingInput && shard?.place == "\(folder.path)/three.safetensors")
    let none = #expect(throws: Failure.self) { try WeightSource(folder: "\(folder.path)/none") }
    #expect(none?.status == .missingInput)
  }
}
