import JSON
import System

/// Byte-pair encoding (Sennrich et al., arXiv 1508.07909) over bytes, as GPT-2 has it: a word begins as the tokens of its
/// bytes, and neighbours are joined, the pair that was learnt first before all others, as long as a pair is known.
///
/// The order of joining is that of the `tokenizers` crate's queue, also where it differs from the rule above.
struct BytePairs: Sendable {
  /// The token of each byte, -1 where the vocabulary has none.
  private let byteIDs: [Int32]
  /// By `left << 32 | right`: which pair it is, from 0, and what it becomes.
  private let pairs: [UInt64: (rank: UInt32, id: Int32)]
  /// Stands for bytes without a token, which are left out where it is nil.
  private let unknownID: Int32?
  /// Whether one such token stands for neighbours together.
  private let fusesUnknown: Bool
  /// A hash of all pairs.
  let fingerprint: UInt64

  /// The most pairs that are accepted.
  static let mostPairs = 1 << 22

  /// - Parameters:
  ///   - merges: the pairs as they were learnt.
  ///   - path: named in errors, with the pair's number.
  init(
    _ vocabulary: Vocabulary, merges: [Merge], unknownID: Int32? = nil, fusesUnknown: Bool = false, path: String
  ) throws(Failure) {
    self.unknownID = unknownID
    self.fusesUnknown = fusesUnknown
    byteIDs = (0...255).map { vocabulary.id(of: encoded(CollectionOfOne(byteScalar($0)))) ?? -1 }
    var pairs: [UInt64: (rank: UInt32, id: Int32)] = [:]
    pairs.reserveCapacity(merges.count)
    var hash = FNV1a()
    for (rank, merge) in merges.enumerated() {
      func id(_ token: [UInt8]) throws(Failure) -> Int32 {
        if let id = vocabulary.id(of: token) { return id }
        throw Failure(
          .badData, at: path, "pair \(rank + 1) needs the token \(quoted(token)), which the vocabulary lacks",
          hint: "vocabulary and merges belong to different tokenizers")
      }
      let (left, right) = (try id(merge.left), try id(merge.right))
      let joined = try id(merge.left + merge.right)
      // Of equal pairs the last one counts.
      pairs[Self.key(left, right)] = (UInt32(rank), joined)
      hash.add(merge.left + [0x20] + merge.right + [0x0A])
    }
    self.pairs = pairs
    fingerprint = hash.value
  }

  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// The memory that spelling many words uses again.
  struct Scratch {
    /// The tokens of the word; -1 where one was joined to that before it.
    fileprivate var tokens: [Int32] = []
    fileprivate var next: [Int32] = []
    fileprivate var previous: [Int32] = []
    fileprivate var queue = MergeQueue()
  }

  /// Appends the tokens of `word` to `ids`.
  func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32], _ scratch: inout Scratch) {
    readBytes(word, &scratch.tokens)
    let count = scratch.tokens.count
    guard count > 1 else { return ids.append(contentsOf: scratch.tokens) }
    scratch.next.removeAll(keepingCapacity: true)
    scratch.previous.removeAll(keepingCapacity: true)
    scratch.queue.removeAll()
    for place in 0..<count {
      scratch.next.append(place + 1 < count ? Int32(place + 1) : -1)
      scratch.previous.append(Int32(place - 1))
      if place + 1 < count { push(place, place + 1, &scratch) }
    }
    while let top = scratch.queue.pop() {
      let place = top.place
      let after = Int(scratch.next[place])
      guard scratch.tokens[place] >= 0, after >= 0,
        // An entry from before one of the two was joined to another counts where they still become the same.
        let pair = pairs[Self.key(scratch.tokens[place], scratch.tokens[after])], pair.id == top.id
      else { continue }
      scratch.tokens[place] = top.id
      scratch.tokens[after] = -1
      let following = scratch.next[after]
      scratch.next[place] = following
      if following >= 0 { scratch.previous[Int(following)] = Int32(place) }
      if scratch.previous[place] >= 0 { push(Int(scratch.previous[place]), place, &scratch) }
      if following >= 0 { push(place, Int(following), &scratch) }
    }
    for token in scratch.tokens where token >= 0 { ids.append(token) }
  }

  /// Puts the pair of tokens at two places into the queue, where it is known.
  private func push(_ place: Int, _ after: Int, _ scratch: inout Scratch) {
    guard let pair = pairs[Self.key(scratch.tokens[place], scratch.tokens[after])] else { return }
    scratch.queue.push(.init(rank: pair.rank, place: place, id: pair.id))
  }

  /// Overwrites `tokens` with those of the bytes.
  private func readBytes(_ word: UnsafeBufferPointer<UInt8>, _ tokens: inout [Int32]) {
    tokens.removeAll(keepingCapacity: true)
    var isAfterUnknown = false
    for byte in word {
      let id = byteIDs[Int(byte)]
      if id >= 0 {
        tokens.append(id)
        isAfterUnknown = false
      } else if let unknownID {
        if !(isAfterUnknown && fusesUnknown) { tokens.append(unknownID) }
        isAfterUnknown = true
      }
    }
  }
}

/// Pairs that wait to be joined: the smallest rank first, of equal ones the leftmost.
struct MergeQueue {
  struct Entry {
    var rank: UInt32
    var place: Int
    var id: Int32

    func precedes(_ other: Entry) -> Bool { (rank, place) < (other.rank, other.place) }
  }

  /// A binary heap.
  private var heap: [Entry] = []

  mutating func removeAll() { heap.removeAll(keepingCapacity: true) }

  mutating func push(_ entry: Entry) {
    heap.append(entry)
    var child = heap.count - 1
    while child > 0, heap[child].precedes(heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  mutating func pop() -> Entry? {
    guard let top = heap.first, let last = heap.popLast() else { return nil }
    guard !heap.isEmpty else { return top }
    heap[0] = last
    var parent = 0
    while true {
      let (left, right) = (2 * parent + 1, 2 * parent + 2)
      var least = parent
      if left < heap.count, heap[left].precedes(heap[least]) { least = left }
      if right < heap.count, heap[right].precedes(heap[least]) { least = right }
      if least == parent { return top }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
