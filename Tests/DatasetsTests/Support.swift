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

func pair(_ first: String, _ second: String?, _ label: Label) -> SentencePair {
  SentencePair(first: Array(first.utf8), second: second.map { Array($0.utf8) }, label: label)
}
