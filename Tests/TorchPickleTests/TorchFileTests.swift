import Glibc
import System
import TestSupport
import Testing
import TorchPickle

/// Files of torch.save, made by make_files.py.
struct TorchFileTests {
  static let folder = "\(parent(of: #filePath))/Files"

  private struct Expected: Decodable {
    var shape: [Int]
    var values: [Float]
  }

  private func floats(_ file: TorchFile, _ name: String) throws -> [Float] {
    let tensor = try #require(file.tensors.first { $0.name == name })
    var values = [Float](repeating: .nan, count: tensor.shape.reduce(1, *))
    try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try file.readFloats(tensor, into: buffer) }
    return values
  }

  @Test(
    "every float tensor has torch's shape and values, however it lies in memory",
    arguments: ["zip", "old", "protocol-4"])
  func values(name: String) throws {
    let path = "\(Self.folder)/\(name).bin"
    #expect(try TorchFile.isOne(path))
    let file = try TorchFile(path)
    let expected = try Golden.json(path: "\(Self.folder)/values.json", as: [String: Expected].self)
    #expect(expected.count == 11)
    for (name, value) in expected {
      #expect(file.tensors.first { $0.name == name }?.shape == value.shape)
      #expect(try floats(file, name) == value.values, "\(name)")
    }
    #expect(!file.tensors.contains { $0.name == "epoch" }, "what is no tensor is none")
  }

  @Test("tensors of other types may be there, but are not read as numbers", arguments: ["zip", "old"])
  func otherTypes(name: String) throws {
    let file = try TorchFile("\(Self.folder)/\(name).bin")
    for (name, type) in [("numbers", "torch.LongStorage"), ("flags", "torch.BoolStorage"), ("complex", "Complex")] {
      let problem = #expect(throws: Failure.self) { try floats(file, name) }
      #expect(problem?.status == .badData && problem?.message.contains(type) == true, "\(problem as Any)")
    }
  }

  /// Without waiting for the disk: thousands of files are written.
  private func write(_ bytes: ArraySlice<UInt8>, to path: String) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    defer { close(file) }
    let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
    try #require(count == bytes.count)
  }

  @Test("a file that ends anywhere is refused, or has all it says", arguments: ["zip", "old"])
  func cut(name: String) throws {
    let bytes = try readBytes("\(Self.folder)/\(name).bin")
    let folder = try TemporaryFolder()
    for length in stride(from: 0, to: bytes.count, by: 13) {
      let path = "\(folder.path)/cut.bin"
      try write(bytes[..<length], to: path)
      let problem = #expect(throws: Failure.self) { try TorchFile(path) }
      #expect(problem?.status == .badData, "\(length): \(problem as Any)")
    }
  }

  @Test("changed bytes are refused, or leave a sound file; nothing traps", arguments: ["zip", "old", "protocol-4"])
  func mutations(name: String) throws {
    let bytes = try readBytes("\(Self.folder)/\(name).bin")
    let folder = try TemporaryFolder()
    var numbers = Numbers(17)
    var accepted = 0
    let rounds = Golden.variable("LOCKSTEP_SLOW") == nil ? 3000 : 100_000
    for _ in 0..<rounds {
      var changed = bytes
      for _ in 0..<Int.random(in: 1...3, using: &numbers) {
        let place = Int.random(in: 0..<changed.count, using: &numbers)
        switch Int.random(in: 0...3, using: &numbers) {
        case 0: changed[place] = [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &numbers)!
        case 1: changed[place] ^= 1 << UInt8.random(in: 0...7, using: &numbers)
        case 2: changed.remove(at: place)
        default: changed.insert(.random(in: 0...255, using: &numbers), at: place)
        }
      }
      let path = "\(folder.path)/changed.bin"
      try write(changed[...], to: path)
      do throws(Failure) {
        let file = try TorchFile(path)
        accepted += 1
        for tensor in file.tensors where tensor.shape.reduce(1, *) < 10_000 {
          _ = try? floats(file, tensor.name)
        }
      } catch {
        #expect(error.status == .badData, "\(error)")
      }
    }
    #expect(accepted > 0 && accepted < rounds)
  }
}
