import Glibc
import Synchronization

/// How the ranks of a host share the pieces of a checkpoint's files: each takes the next one, writes it and notes its digest,
/// until none is left. Rank 0 opens and closes the board.
///
/// It lies in memory that they share. An entry has one writer, who notes the digest first and then that it is there.
struct PieceBoard {
  enum Stage: Int {
    /// The files are not there yet.
    case preparing
    case open
    case closed
  }

  private enum Entry {
    static let isFree = 0
    static let isDone = 1
    /// Whoever took it could not write it.
    static let isReturned = 2
  }

  private let base: UnsafeMutableRawPointer
  /// Pieces that it has room for.
  let capacity: Int

  private static let headersOffset = 128
  private static let fileLimit = 8
  private static let entriesOffset = headersOffset + fileLimit * MemoryLayout<Int>.stride
  /// Its state and the digest have a cache line each.
  private static let entryBytes = 128
  private static let digestBytes = 64

  /// - Parameter base: memory of `byteCount`, 0 at first.
  init(at base: UnsafeMutableRawPointer, capacity: Int) {
    self.base = base
    self.capacity = capacity
  }

  static func byteCount(capacity: Int) -> Int { entriesOffset + capacity * entryBytes }

  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    (base + offset).assumingMemoryBound(to: Atomic<Int>.self)
  }

  private var next: UnsafeMutablePointer<Atomic<Int>> { word(64) }

  private func entry(_ index: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    word(Self.entriesOffset + index * Self.entryBytes)
  }

  private func digestPlace(_ index: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      start: base + Self.entriesOffset + index * Self.entryBytes + Self.entryBytes - Self.digestBytes,
      count: Self.digestBytes)
  }

  // MARK: Rank 0

  /// Forgets all. Nobody uses the board meanwhile.
  func reset() {
    word(0).pointee.store(Stage.preparing.rawValue, ordering: .relaxed)
    next.pointee.store(0, ordering: .relaxed)
    for index in 0..<capacity { entry(index).pointee.store(Entry.isFree, ordering: .relaxed) }
  }

  /// Lets all take pieces: the files are there.
  ///
  /// - Parameter headers: bytes of each file's header.
  func open(_ headers: [Int]) {
    precondition(headers.count <= Self.fileLimit, "\(headers.count) files")
    for (file, count) in headers.enumerated() {
      (base + Self.headersOffset).storeBytes(of: count, toByteOffset: file * MemoryLayout<Int>.stride, as: Int.self)
    }
    word(0).pointee.store(Stage.open.rawValue, ordering: .releasing)
  }

  /// Lets nobody take another piece.
  func close() { word(0).pointee.store(Stage.closed.rawValue, ordering: .releasing) }

  /// Waits for the pieces that others have taken, of `count`, as long as one comes in now and then: somebody who is lost or
  /// stopped holds up nobody.
  func waitForOthers(count: Int) {
    let (napMicroseconds, napLimit) = (UInt32(1000), 2000)
    func missing() -> Int { (0..<count).count { entry($0).pointee.load(ordering: .acquiring) == Entry.isFree } }
    var (left, naps) = (missing(), 0)
    while left > 0 && naps < napLimit {
      usleep(napMicroseconds)
      let now = missing()
      naps = now < left ? 0 : naps + 1
      left = now
    }
  }

  /// The digest of a piece, which somebody has written; nil where nobody has.
  func digest(_ index: Int) -> String? {
    guard entry(index).pointee.load(ordering: .acquiring) == Entry.isDone else { return nil }
    return String(decoding: digestPlace(index), as: UTF8.self)
  }

  // MARK: All ranks

  var stage: Stage { Stage(rawValue: word(0).pointee.load(ordering: .acquiring)) ?? .closed }

  /// Bytes of the header of each file, of so many. The board is open.
  func headers(_ count: Int) -> [Int] {
    (0..<count).map {
      (base + Self.headersOffset).load(fromByteOffset: $0 * MemoryLayout<Int>.stride, as: Int.self)
    }
  }

  /// The next pieces of `count` that nobody has taken, so many at most; none where none is left.
  func take(_ most: Int, of count: Int) -> [Int] {
    let first = next.pointee.wrappingAdd(most, ordering: .relaxed).oldValue
    return Array(min(first, count)..<min(first + most, count))
  }

  /// Notes that a piece is written.
  func finish(_ index: Int, _ digest: String) {
    digestPlace(index).copyBytes(from: digest.utf8)
    entry(index).pointee.store(Entry.isDone, ordering: .releasing)
  }

  /// Leaves a piece to rank 0, which meets the same reason, or none.
  func giveBack(_ index: Int) { entry(index).pointee.store(Entry.isReturned, ordering: .releasing) }
}
