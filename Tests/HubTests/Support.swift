import Glibc
import Hub
import System
import TestSupport
import Testing

/// Git's name for a file with these bytes.
func gitSHA1(_ bytes: [UInt8]) -> String {
  var hash = SHA1(gitBlobOf: bytes.count)
  hash.update(bytes)
  return hash.hexDigest
}

/// So many bytes that no two blocks of share.
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var random = SplitMix64(state: seed)
  var bytes = [UInt8](repeating: 0, count: count)
  bytes.withUnsafeMutableBytes { buffer in
    for start in stride(from: 0, to: count - 7, by: 8) {
      buffer.storeBytes(of: random.next(), toByteOffset: start, as: UInt64.self)
    }
  }
  return bytes
}

let tinyFolder = "\(Golden.folder)/tiny-bert"

/// A configuration that passes for a BERT's, with a tokenizer: what every model has beside its weights.
func description(weights: [UInt8]) -> [String: HubServer.File] {
  [
    "config.json": .init(bytes: Array("{\"model_type\": \"bert\"}".utf8)),
    "vocab.txt": .init(bytes: Array("[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\n".utf8)),
    "model.safetensors": .init(bytes: weights, isLarge: true),
  ]
}

extension HubClient {
  /// The model `text` as `./launch` asks for it, without a look at config.json.
  func model(_ text: String, revision: String? = nil) throws(Failure) -> HubSnapshot {
    try model(HubName(.model, text, revision: revision)) { _, _ in }
  }
}

/// Files that are not whole, in the whole cache.
func incomplete(_ cache: HubCache) -> [String] { cache.repositories().flatMap(\.incomplete) }

/// Runs the launcher.
func launch(_ arguments: [String], _ variables: [String: String], seconds: Double = 120) throws -> Program.Outcome {
  try Program.run([Program.built("launch")] + arguments, variables: variables, seconds: seconds)
}

extension HubServer {
  /// Rows in the form in which MRPC was first published.
  func addMRPC() throws {
    let train = try readBytes("\(Golden.folder)/mrpc/train.tsv")
    let validation = try readBytes("\(Golden.folder)/mrpc/dev.tsv")
    func rows(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] { bytes.split(separator: 0x0A).dropFirst().map { $0 } }
    func joined(_ lines: [ArraySlice<UInt8>]) -> [UInt8] { lines.flatMap { Array($0) + [0x0A] } }
    let header = try #require(train.split(separator: 0x0A).first)
    // Numbers that no other row has.
    func numbered(_ row: ArraySlice<UInt8>, _ first: Int) -> ArraySlice<UInt8> {
      let cells = row.split(separator: 0x09, omittingEmptySubsequences: false)
      let ids = "\t\(first)\t\(first + 1)\t"
      return Array(cells[0] + Array(ids.utf8) + cells[3] + [0x09] + cells[4])[...]
    }
    let own = rows(train).enumerated().map { numbered($1, 10 * $0) }
    let held = rows(validation).enumerated().map { numbered($1, 100_000 + 10 * $0) }
    let ids = held.indices.map { "\(100_000 + 10 * $0)\t\(100_001 + 10 * $0)\n" }.joined()
    addPlain("/senteval/senteval_data/msr_paraphrase_train.txt", joined([header] + own + held))
    addPlain("/senteval/senteval_data/msr_paraphrase_test.txt", joined([header] + held))
    addPlain("/glue/data/mrpc_dev_ids.tsv", Array(ids.utf8))
  }
}
