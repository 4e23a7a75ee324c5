import Safetensors
import System
import TestSupport
import Testing
import WeightFiles

@Suite("Checkpoint folders")
struct WeightSourceTests {
  private let folder: TemporaryFolder
  private var index: String { "\(folder.path)/model.safetensors.index.json" }

  init() throws {
    folder = try TemporaryFolder()
    try write("one.safetensors", [("a", 1), ("b", 2)])
    try write("two.safetensors", [("c", 3)])
  }

  private func write(_ name: String, _ tensors: [(name: String, value: Float)]) throws {
    let writer = try SafetensorsWriter("\(folder.path)/\(name)", tensors.map { .init($0.name, shape: [1]) })
    for tensor in tensors {
      try [tensor.value].withUnsafeBufferPointer { (values) throws(Failure) in try writer.append(values) }
    }
    try writer.commit()
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
    _ = try folder.write(json, "model.safetensors.index.json")
    let source = try WeightSource(folder: folder.path)
    #expect(source.entries.map(\.name) == ["c", "a", "b"])
    #expect(try value(source, "a") == 1 && value(source, "b") == 2 && value(source, "c") == 3)
    #expect(source.tensor(named: "d") == nil && source.path == index)
  }

  @Test("a single file comes before an index")
  func single() throws {
    _ = try folder.write("nonsense", "model.safetensors.index.json")
    _ = try folder.write(readBytes("\(folder.path)/two.safetensors"), "model.safetensors")
    let source = try WeightSource(folder: folder.path)
    #expect(source.entries.map(\.name) == ["c"] && source.path == "\(folder.path)/model.safetensors")
  }

  @Test("every tensor of a shard counts, also one that the index leaves out")
  func unlisted() throws {
    let json = #"{"weight_map": {"c": "two.safetensors", "b": "one.safetensors"}}"#
    _ = try folder.write(json, "model.safetensors.index.json")
    #expect(try value(try WeightSource(folder: folder.path), "a") == 1)
  }

  @Test("a tensor in two shards is refused: which one is meant?")
  func twice() throws {
    try write("two.safetensors", [("a", 3)])
    _ = try folder.write(
      #"{"weight_map": {"a": "two.safetensors", "b": "one.safetensors"}}"#, "model.safetensors.index.json")
    let problem = #expect(throws: Failure.self) { try WeightSource(folder: folder.path) }
    #expect(problem?.message.hasPrefix("tensor a is also in ") == true, "\(problem as Any)")
  }

  @Test(
    "an index that is wrong is refused",
    arguments: [
      (#"{"weight_map":{"a":"two.safetensors"}}"#, "tensor a is not in two.safetensors"),
      (#"{"weight_map":{"a":"one.safetensors","a":"one.safetensors"}}"#, "the key \"a\" is there twice"),
      (#"{"weight_map":{},"weight_map":{}}"#, "the key \"weight_map\" is there twice"),
      (#"{"weight_map":{"a":"../one.safetensors"}}"#, "is \"../one.safetensors\", expected a plain file name"),
      (#"{"weight_map":{"a":"/etc/passwd"}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":"x\u002fy"}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":".."}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":""}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":"one\u0000"}}"#, "expected a plain file name"),
      (#"{"weight_map":{"a":1}}"#, "\"weight_map.a\" is 1, expected a string"),
      (#"{"weight_map":["a"]}"#, "\"weight_map\" is a list, expected an object"),
      (#"{"metadata":{}}"#, "has no key \"weight_map\""),
      (#"{"metadata":[}"#, "expected a value"),
      (#"{"metadata":,"weight_map":{}}"#, "expected a value"),
      (#"{"weight_map":{"a":"one.safetensors",}}"#, "expected a key"),
      (#"{"metadata":"# + String(repeating: "[", count: 200), "is nested more than 128 deep"),
      ("[]", "is a list, expected an object"),
      ("", "ends, expected a value"),
    ])
  func refused(json: String, text: String) throws {
    _ = try folder.write(json, "model.safetensors.index.json")
    let failure = #expect(throws: Failure.self) { try WeightSource(folder: folder.path) }
    #expect(failure?.status == .badData && failure?.place?.hasPrefix(index) == true)
    #expect(failure?.description.contains(text) == true, "\(failure as Any)")
  }

  @Test("what is missing is told")
  func missing() throws {
    let nothing = #expect(throws: Failure.self) { try WeightSource(folder: folder.path) }
    #expect(nothing?.status == .missingInput && nothing?.message.hasPrefix("has neither model.safetensors nor") == true)
    _ = try folder.write(#"{"weight_map":{"a":"three.safetensors"}}"#, "model.safetensors.index.json")
    let shard = #expect(throws: Failure.self) { try WeightSource(folder: folder.path) }
    #expect(shard?.status == .missingInput && shard?.place == "\(folder.path)/three.safetensors")
    let none = #expect(throws: Failure.self) { try WeightSource(folder: "\(folder.path)/none") }
    #expect(none?.status == .missingInput)
  }

  @Test(
    "a pytorch_model.bin, whole or in shards, has the bits of its safetensors", arguments: ["checkpoint", "shards"])
  func torch(name: String) throws {
    let source = try WeightSource(folder: "\(Golden.folder)/../TorchPickleTests/Files/\(name)")
    let file = try SafetensorsFile("\(Golden.folder)/activations/model.safetensors")
    #expect(source.entries.count == file.tensors.count)
    for tensor in file.tensors {
      let entry = try #require(source.tensor(named: tensor.name))
      var (ours, theirs) = ([Float](repeating: 0, count: tensor.count), [Float](repeating: 1, count: tensor.count))
      try ours.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try entry.readFloats(into: buffer) }
      try theirs.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try file.readFloats(tensor, into: buffer)
      }
      #expect(entry.shape == tensor.shape && ours == theirs, "\(tensor.name)")
    }
  }

  @Test("safetensors come before a pickle")
  func preference() throws {
    _ = try folder.write([0x80, 2], "pytorch_model.bin")
    _ = try folder.write(readBytes("\(folder.path)/two.safetensors"), "model.safetensors")
    #expect(try WeightSource(folder: folder.path).entries.map(\.name) == ["c"])
  }
}
