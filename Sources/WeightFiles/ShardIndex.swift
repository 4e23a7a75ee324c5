import JSON
import System

/// `….index.json`: which shard holds which tensor.
struct ShardIndex {
  /// The shards in the order of their first mention.
  var names: [String] = []
  var tensors: [(name: String, shard: String)] = []

  /// Far above any checkpoint's; with it, memory for the index stays below 300 MB.
  private static let limitBytes = 1 << 24
  private static let limitShards = 10_000

  init(_ path: String) throws(Failure) {
    let root = try JSONDocument(contentsOf: path, limitBytes: Self.limitBytes, status: .badData).root
    guard let map = try root.member("weight_map") else { throw root.failure("has no key \"weight_map\"") }
    var seen: Set<[UInt8]> = []
    for (tensor, shard) in try map.members() {
      let bytes = try shard.utf8()
      let name = String(decoding: bytes, as: UTF8.self)
      // An index from outside must not make us open files elsewhere.
      guard !bytes.isEmpty, !bytes.contains(UInt8(ascii: "/")), !bytes.contains(0), name != ".", name != ".." else {
        throw shard.unexpected("a plain file name")
      }
      if seen.insert(bytes).inserted { names.append(name) }
      guard names.count <= Self.limitShards else { throw shard.failure("more than \(Self.limitShards) shards") }
      tensors.append((String(decoding: tensor, as: UTF8.self), name))
    }
  }
}
