import System

// APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16: the directory at the end says what is where. Archives of 4 GB and
// more, of several disks, and encrypted ones are refused.

/// The files in a ZIP archive in memory.
public struct ZipArchive {
  public struct Entry: Sendable {
    public var name: String
    public var byteCount: Int
    var method: Int
    var compressedCount: Int
    var headerOffset: Int
    var sum: UInt32
  }

  private let bytes: [UInt8]
  private let path: String
  public private(set) var entries: [Entry] = []

  /// The largest file that is unpacked.
  public static let limitBytes = 1 << 30

  /// - Parameter path: names the archive in messages.
  public init(_ bytes: [UInt8], path: String) throws(Failure) {
    self.bytes = bytes
    self.path = path
    let smallest = 22
    guard bytes.count >= smallest else { throw wrong("is too short") }
    let earliest = max(0, bytes.count - smallest - 0xFFFF)
    guard
      let end = stride(from: bytes.count - smallest, through: earliest, by: -1).first(where: {
        bytes[$0] == 0x50 && bytes[$0 + 1] == 0x4B && bytes[$0 + 2] == 5 && bytes[$0 + 3] == 6
      })
    else { throw wrong("has no directory at its end") }
    let count = number(end + 10, 2)
    var position = number(end + 16, 4)
    for _ in 0..<count {
      guard position + 46 <= bytes.count, number(position, 4) == 0x0201_4B50 else {
        throw wrong("has a broken directory")
      }
      let nameCount = number(position + 28, 2)
      let next = position + 46 + nameCount + number(position + 30, 2) + number(position + 32, 2)
      guard next <= bytes.count else { throw wrong("has a broken directory") }
      let flags = number(position + 8, 2)
      let name = String(decoding: bytes[(position + 46)..<(position + 46 + nameCount)], as: UTF8.self)
      guard flags & 1 == 0 else { throw wrong("is encrypted") }
      entries.append(
        Entry(
          name: name, byteCount: number(position + 24, 4), method: number(position + 10, 2),
          compressedCount: number(position + 20, 4), headerOffset: number(position + 42, 4),
          sum: UInt32(number(position + 16, 4))))
      position = next
    }
  }

  /// The bytes of a file, whose sum is checked.
  public func bytes(of entry: Entry) throws(Failure) -> [UInt8] {
    let header = entry.headerOffset
    guard header + 30 <= bytes.count, number(header, 4) == 0x0403_4B50 else { throw wrong("has a broken header") }
    let start = header + 30 + number(header + 26, 2) + number(header + 28, 2)
    guard start + entry.compressedCount <= bytes.count else { throw wrong("ends inside of \(entry.name)") }
    guard entry.byteCount <= Self.limitBytes else {
      throw wrong("has \(entry.name) of \(entry.byteCount) bytes, expected at most \(Self.limitBytes)")
    }
    let result: [UInt8]
    switch entry.method {
    case 0:
      guard entry.byteCount == entry.compressedCount else { throw wrong("has a broken header") }
      result = Array(bytes[start..<start + entry.byteCount])
    case 8:
      // No stream of DEFLATE's is longer than 1032 times itself: nothing is allocated for one that says so.
      guard entry.byteCount <= 1032 * entry.compressedCount else { throw wrong("has a broken header") }
      result = try bytes.withUnsafeBufferPointer { (buffer) throws(Failure) in
        try inflated(
          UnsafeBufferPointer(rebasing: buffer[start..<start + entry.compressedCount]), size: entry.byteCount,
          place: "\(path), \(entry.name)")
      }
    default: throw wrong("has \(entry.name) compressed in another way (\(entry.method)), expected DEFLATE")
    }
    guard checksum(result) == entry.sum else { throw wrong("has other bytes in \(entry.name) than its sum says") }
    return result
  }

  private func number(_ position: Int, _ count: Int) -> Int {
    (0..<count).reduce(0) { $0 | Int(bytes[position + $1]) << (8 * $1) }
  }

  private func wrong(_ what: String) -> Failure {
    Failure(.badData, at: path, "\(what), expected a ZIP archive", hint: "fetch it again")
  }
}
