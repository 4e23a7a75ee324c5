import System

/// What agents send to the launcher: pieces of 512 bytes that travel through mpirun as part of its standard error.
///
/// mpirun forwards what it reads, 4,096 bytes at most at once, and those pieces of several ranks in any order. A pipe
/// keeps writes of that size whole, so frames of 512 bytes, written eight at most at once, arrive whole too. Open MPI 5
/// forwards line by line, so a frame is one line: all after its first six bytes is masked by a byte that leaves no line
/// feed in it, and its last byte is one. What is not a frame is mpirun's own.
package struct RankFrame {
  package enum Kind: UInt8 {
    case output = 1
    case errors
    /// The agent and its rank are there: the host's name.
    case start
    case report
    /// One collective of the ring.
    case entry
    /// The rank has ended: a report follows the end.
    case end
    /// What a person should read, of the agent's own.
    case message
  }

  static let byteCount = 512
  static let headerBytes = 16
  static let bodyBytes = byteCount - headerBytes - 1
  /// From here on bytes are masked.
  private static let maskedFrom = 6
  /// Of so many bytes there is always one that none is equal to.
  private static let safeBodyBytes = 200
  /// Frames of one write.
  static let mostAtOnce = 8
  /// The last byte is the version.
  private static let magic: [UInt8] = [0x01, 0x4C, 0x53, 0x03]
  private static let lineFeed: UInt8 = 0x0A

  var kind: Kind
  var rank: Int
  var body: [UInt8]

  /// The frame's bytes, or those of two frames where the body holds every byte that there is; the body is cut to what one
  /// frame takes.
  package var bytes: [UInt8] {
    let body = body.prefix(Self.bodyBytes)
    var bytes = Self.magic + [kind.rawValue, 0]
    bytes += [UInt8(body.count & 0xFF), UInt8(body.count >> 8)]
    bytes += (0..<4).map { UInt8(truncatingIfNeeded: rank >> (8 * $0)) }
    bytes += Self.checksum(bytes[0..<12], body)
    bytes += body
    bytes += [UInt8](repeating: 0, count: Self.byteCount - bytes.count)
    var isTaken = [Bool](repeating: false, count: 256)
    // The mask itself is not to be a line feed either.
    isTaken[0] = true
    for byte in bytes[Self.maskedFrom...] { isTaken[Int(byte)] = true }
    guard let free = isTaken.firstIndex(of: false) else {
      return [body.prefix(Self.safeBodyBytes), body.dropFirst(Self.safeBodyBytes)].flatMap {
        RankFrame(kind, rank: rank, Array($0)).bytes
      }
    }
    let mask = UInt8(free) ^ Self.lineFeed
    bytes[Self.maskedFrom - 1] = mask
    for index in Self.maskedFrom..<Self.byteCount - 1 { bytes[index] ^= mask }
    bytes[Self.byteCount - 1] = Self.lineFeed
    return bytes
  }

  /// The frame that `bytes` start with; nil where they are none. There are at least `byteCount`.
  package init?(_ bytes: ArraySlice<UInt8>) {
    let start = bytes.startIndex
    guard bytes[start..<start + 4].elementsEqual(Self.magic), let kind = Kind(rawValue: bytes[start + 4]),
      bytes[start + Self.byteCount - 1] == Self.lineFeed
    else { return nil }
    var bytes = Array(bytes[start..<start + Self.byteCount])
    let mask = bytes[Self.maskedFrom - 1]
    bytes[Self.maskedFrom - 1] = 0
    for index in Self.maskedFrom..<Self.byteCount { bytes[index] ^= mask }
    let count = Int(bytes[6]) | Int(bytes[7]) << 8
    guard count <= Self.bodyBytes else { return nil }
    let body = bytes[Self.headerBytes..<Self.headerBytes + count]
    guard Self.checksum(bytes[0..<12], body).elementsEqual(bytes[12..<16]) else { return nil }
    self.kind = kind
    rank = (0..<4).reduce(0) { $0 | Int(bytes[8 + $1]) << (8 * $1) }
    self.body = Array(body)
  }

  package init(_ kind: Kind, rank: Int, _ body: [UInt8]) {
    self.kind = kind
    self.rank = rank
    self.body = body
  }

  /// A hash of the header and up to 64 bytes at either end of the body.
  private static func checksum(_ header: ArraySlice<UInt8>, _ body: ArraySlice<UInt8>) -> [UInt8] {
    var hash = FNV1a()
    for part in [header, body.prefix(64), body.suffix(64)] { hash.add(part) }
    return (0..<4).map { UInt8(truncatingIfNeeded: hash.value >> (8 * $0)) }
  }
}

/// Takes a stream apart into frames and what lies between them.
package struct RankFrameReader {
  private var pending: [UInt8] = []

  package init() {}

  package enum Piece {
    case frame(RankFrame)
    case other([UInt8])
  }

  /// Takes the next bytes, and returns what is whole.
  package mutating func read(_ bytes: ArraySlice<UInt8>) -> [Piece] {
    pending += bytes
    var pieces: [Piece] = []
    var other: [UInt8] = []
    var position = 0
    while position < pending.count {
      if pending[position] == 0x01 {
        guard pending.count - position >= RankFrame.byteCount else { break }
        if let frame = RankFrame(pending[position..<position + RankFrame.byteCount]) {
          if !other.isEmpty { pieces.append(.other(other)) }
          other = []
          pieces.append(.frame(frame))
          position += RankFrame.byteCount
          continue
        }
      }
      other.append(pending[position])
      position += 1
    }
    if !other.isEmpty { pieces.append(.other(other)) }
    pending.removeFirst(position)
    return pieces
  }

  /// What is left at the end.
  package mutating func finish() -> [UInt8] {
    defer { pending = [] }
    return pending
  }
}
