import JSON
import System

/// A pair of tokens that byte-pair encoding joins.
struct Merge: Sendable, Equatable {
  var left: [UInt8]
  var right: [UInt8]
}

/// The pairs of a merges.txt, in order: two tokens a line with a blank between, but for lines that begin with `#version`
/// (`BPE::read_file` of the `tokenizers` crate).
func readMerges(text: [UInt8], path: String) throws(Failure) -> [Merge] {
  if let bad = text.withUnsafeBufferPointer(firstInvalidUTF8) {
    let line = text[..<bad].count { $0 == 0x0A } + 1
    throw Failure(
      .badData, at: "\(path):\(line)", "byte 0x\(String(text[bad], radix: 16, uppercase: true)) is not UTF-8")
  }
  var merges: [Merge] = []
  var line = 0
  var start = 0
  while start < text.count {
    let end = text[start...].firstIndex(of: 0x0A) ?? text.count
    var content = text[start..<end]
    if end < text.count, content.last == 0x0D { content.removeLast() }
    line += 1
    start = end + 1
    if content.starts(with: "#version".utf8) { continue }
    guard let merge = Merge(content) else {
      throw Failure(
        .badData, at: "\(path):\(line)", "\(quoted(content)), expected two tokens with one blank between them")
    }
    guard merges.count < BytePairs.mostPairs else {
      throw Failure(.badData, at: "\(path):\(line)", "has more than \(BytePairs.mostPairs) pairs")
    }
    merges.append(merge)
  }
  return merges
}

/// The pairs of `model.merges` of a tokenizer.json: texts as in merges.txt, or lists of two.
func readMerges(json: JSONNode) throws(Failure) -> [Merge] {
  var merges: [Merge] = []
  for node in try json.elements() {
    if node.kind == .array {
      let parts = try node.elements()
      guard parts.count == 2 else { throw node.unexpected("a list of two tokens") }
      merges.append(Merge(left: try parts[0].utf8(), right: try parts[1].utf8()))
    } else {
      let text = try node.utf8()
      guard let merge = Merge(text[...]) else { throw node.unexpected("two tokens with one blank between them") }
      merges.append(merge)
    }
    guard merges.count <= BytePairs.mostPairs else { throw json.failure("has more than \(BytePairs.mostPairs) pairs") }
  }
  return merges
}

extension Merge {
  /// Two tokens with one blank between them.
  fileprivate init?(_ text: ArraySlice<UInt8>) {
    let parts = text.split(separator: 0x20, omittingEmptySubsequences: false)
    guard parts.count == 2 else { return nil }
    self.init(left: Array(parts[0]), right: Array(parts[1]))
  }
}
