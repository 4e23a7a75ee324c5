/// Finds added tokens in a text: from left to right, the longest that starts at a place, none over another.
///
/// A trie, so that a place costs no more than the longest token, however many tokens there are.
struct AddedTokenFinder: Sendable {
  struct Match: Sendable {
    var id: Int32
    var token: AddedToken
    /// Found, but left to be split like any text: a special token where `split_special_tokens` is set. It still hides
    /// tokens that overlap it.
    var isIgnored: Bool
  }

  /// A token at `range`, with the white space that it takes along, or text between tokens where `id` is nil.
  struct Piece: Equatable {
    var id: Int32?
    var range: Range<Int>
  }

  /// Whether a token starts with a byte.
  private var isStart = [Bool](repeating: false, count: 256)
  /// The node that a byte leads to from a node, under `node << 8 | byte`.
  private var edges: [Int: Int] = [:]
  /// Per node: the index of the token that ends there, or -1.
  private var ends: [Int] = [-1]
  private var matches: [Match] = []

  init(_ patterns: [[UInt8]: Match]) {
    for (pattern, match) in patterns.sorted(by: { $0.value.id < $1.value.id }) {
      isStart[Int(pattern[0])] = true
      var node = 0
      for byte in pattern {
        let edge = node << 8 | Int(byte)
        if let next = edges[edge] {
          node = next
        } else {
          node = ends.count
          edges[edge] = node
          ends.append(-1)
        }
      }
      ends[node] = matches.count
      matches.append(match)
    }
  }

  /// Calls `body` with the pieces of `text` in order; no piece is empty.
  func split(_ text: UnsafeBufferPointer<UInt8>, _ body: (Piece) -> Void) {
    var done = 0
    var index = 0
    // The last run of white space that was measured: a run is not measured again at each of its places.
    var run = 0..<0
    while index < text.count {
      guard isStart[Int(text[index])], let found = longest(text, at: index) else {
        index += 1
        continue
      }
      defer { index = found.end }
      let match = matches[found.match]
      if match.isIgnored { continue }
      if match.token.isSingleWord && !standsAlone(index..<found.end, in: text) { continue }
      var start = index
      var end = found.end
      if match.token.stripsLeft { start = whiteSpaceStart(text, before: start, after: done) }
      if match.token.stripsRight {
        if !run.contains(end) { run = end..<whiteSpaceEnd(text, from: end) }
        end = max(end, run.upperBound)
      }
      if done < start { body(Piece(id: nil, range: done..<start)) }
      // Nothing is left of a token whose white space another has taken.
      if start < end { body(Piece(id: match.id, range: start..<end)) }
      done = end
    }
    if done < text.count { body(Piece(id: nil, range: done..<text.count)) }
  }

  private func longest(_ text: UnsafeBufferPointer<UInt8>, at start: Int) -> (match: Int, end: Int)? {
    var node = 0
    var result: (match: Int, end: Int)?
    var index = start
    while index < text.count, let next = edges[node << 8 | Int(text[index])] {
      node = next
      index += 1
      if ends[node] >= 0 { result = (ends[node], index) }
    }
    return result
  }

  private func standsAlone(_ range: Range<Int>, in text: UnsafeBufferPointer<UInt8>) -> Bool {
    if let before = lastScalar(.init(rebasing: text[..<range.lowerBound])), isWordScalar(before.value) { return false }
    guard range.upperBound < text.count, let after = decodeScalar(text, at: range.upperBound) else { return true }
    return !isWordScalar(after.value)
  }

  /// Where the white space begins that ends at `end`, or `limit`, which tokens before have taken already.
  private func whiteSpaceStart(_ text: UnsafeBufferPointer<UInt8>, before end: Int, after limit: Int) -> Int {
    var start = end
    while start > limit, let scalar = lastScalar(.init(rebasing: text[..<start])), isWhiteSpace(scalar.value) {
      start -= scalar.length
    }
    return max(start, limit)
  }

  private func whiteSpaceEnd(_ text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
    var end = start
    while end < text.count, let scalar = decodeScalar(text, at: end), isWhiteSpace(scalar.value) {
      end += scalar.length
    }
    return end
  }
}
