import Datasets
import Foundation
import System
import TestSupport

/// The JSON file `name` of the reference's goldens.
func golden<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value {
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  return try decoder.decode(type, from: Data(readBytes(Golden.inReference("golden/\(name)"))))
}

/// A folder that is removed with its files when the test is over.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/lockstep-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes `text` to the file `name`.
  func write(_ text: String, _ name: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
  }
}

/// What `body` throws, or nil.
func failure<Value>(_ body: () throws(Failure) -> Value) -> Failure? {
  do throws(Failure) {
    _ = try body()
    return nil
  } catch {
    return error
  }
}

func pair(_ first: String, _ second: String?, _ label: Label) -> SentencePair {
  SentencePair(first: Array(first.utf8), second: second.map { Array($0.utf8) }, label: label)
}
