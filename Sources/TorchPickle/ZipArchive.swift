import System

/// The records of a zip archive as torch writes it: stored, never compressed, sizes in the directory at the end.
///
/// Format: PKWARE's APPNOTE.TXT 6.3, with the 64-bit extension.
struct ZipArchive {
  /// Where a record's own header begins, and how many bytes it has.
  struct Record {
    var headerOffset: Int
    var byteCount: Int
  }

  let file: InputFile
  private(set) var records: [[UInt8]: Record] = [:]

  /// Far above what torch writes for 100,000 tensors; keeps memory bounded.
  private static let limitDirectoryBytes = 1 << 26

  init(_ file: InputFile) throws(Failure) {
    self.file = file
    let directory = try Self.directory(of: file)
    guard directory.byteCount <= Self.limitDirectoryBytes else {
      throw Failure(.badData, at: file.path, "zip: a directory of \(directory.byteCount) bytes")
    }
    let bytes = Bytes(try file.bytes(directory.offset..<directory.offset + directory.byteCount))
    var position = 0
    for _ in 0..<directory.count { position = try add(bytes, at: position) }
    guard position == bytes.count else { throw Self.broken(file, "bytes follow the last entry of the directory") }
  }

  private static func broken(_ file: InputFile, _ message: String) -> Failure {
    Failure(.badData, at: file.path, "zip: \(message)", hint: "the file may be cut off or damaged")
  }

  /// Adds the directory's entry at `position` and returns where the next one is.
  private mutating func add(_ bytes: Bytes, at position: Int) throws(Failure) -> Int {
    guard let signature = bytes.int(position, 4), signature == 0x0201_4b50, let flags = bytes.int(position + 8, 2),
      let method = bytes.int(position + 10, 2), var stored = bytes.int(position + 20, 4),
      var byteCount = bytes.int(position + 24, 4), let nameLength = bytes.int(position + 28, 2),
      let extraLength = bytes.int(position + 30, 2), let commentLength = bytes.int(position + 32, 2),
      var offset = bytes.int(position + 42, 4), let name = bytes.range(position + 46, nameLength)
    else { throw Self.broken(file, "the directory ends within an entry") }
    let shown = String(decoding: name.prefix(200), as: UTF8.self)
    guard flags & 1 == 0, method == 0 else {
      throw Self.broken(file, "record \(shown) is compressed or encrypted, expected it as it is")
    }
    var fields = position + 46 + nameLength
    let end = fields + extraLength
    while let kind = bytes.int(fields, 2), let length = bytes.int(fields + 2, 2), fields + 4 + length <= end {
      if kind == 1 {
        // 64-bit values for those that do not fit, in this order.
        var next = fields + 4
        func wide(_ value: inout Int) {
          guard value == 0xFFFF_FFFF, next + 8 <= fields + 4 + length, let large = bytes.int(next, 8) else { return }
          value = large
          next += 8
        }
        wide(&byteCount)
        wide(&stored)
        wide(&offset)
      }
      fields += 4 + length
    }
    guard stored == byteCount, offset <= file.byteCount, byteCount <= file.byteCount - offset else {
      throw Self.broken(file, "record \(shown) of \(byteCount) bytes at \(offset) is not within the file")
    }
    guard records.updateValue(Record(headerOffset: offset, byteCount: byteCount), forKey: Array(name)) == nil else {
      throw Self.broken(file, "two records are called \(shown)")
    }
    return end + commentLength
  }

  /// Where the bytes of the record `name` are in the file; nil where there is no such record.
  func range(_ name: [UInt8]) throws(Failure) -> Range<Int>? {
    guard let record = records[name] else { return nil }
    let header = Bytes(try file.bytes(record.headerOffset..<min(record.headerOffset + 30, file.byteCount)))
    guard header.int(0, 4) == 0x0403_4b50, let nameLength = header.int(26, 2), let extraLength = header.int(28, 2)
    else { throw Self.broken(file, "no record begins at byte \(record.headerOffset)") }
    let start = record.headerOffset + 30 + nameLength + extraLength
    guard record.byteCount <= file.byteCount - start else {
      throw Self.broken(file, "a record of \(record.byteCount) bytes at \(start) ends behind the file")
    }
    return start..<start + record.byteCount
  }

  /// Finds the directory from the archive's last record.
  private static func directory(of file: InputFile) throws(Failure) -> (offset: Int, byteCount: Int, count: Int) {
    // The last record has 22 bytes and a comment.
    let tailStart = max(0, file.byteCount - 22 - 0xFFFF)
    let tail = Bytes(try file.bytes(tailStart..<file.byteCount))
    var position = tail.count - 22
    while position >= 0,
      tail.int(position, 4) != 0x0605_4b50 || tail.int(position + 20, 2) != tail.count - position - 22
    {
      position -= 1
    }
    guard position >= 0, var count = tail.int(position + 10, 2), var byteCount = tail.int(position + 12, 4),
      var offset = tail.int(position + 16, 4)
    else { throw broken(file, "has no directory at its end") }
    if count == 0xFFFF || byteCount == 0xFFFF_FFFF || offset == 0xFFFF_FFFF {
      let locator = Bytes(try file.bytes(max(0, tailStart + position - 20)..<tailStart + position))
      guard locator.int(0, 4) == 0x0706_4b50, let place = locator.int(8, 8), place <= file.byteCount - 56 else {
        throw broken(file, "has no 64-bit directory where it should be")
      }
      let record = Bytes(try file.bytes(place..<place + 56))
      guard record.int(0, 4) == 0x0606_4b50, let wideCount = record.int(32, 8), let wideBytes = record.int(40, 8),
        let wideOffset = record.int(48, 8)
      else { throw broken(file, "has no 64-bit directory where it should be") }
      (count, byteCount, offset) = (wideCount, wideBytes, wideOffset)
    }
    guard offset <= file.byteCount, byteCount <= file.byteCount - offset, count <= byteCount / 46 else {
      throw broken(file, "a directory of \(count) entries and \(byteCount) bytes at \(offset) is not within the file")
    }
    return (offset, byteCount, count)
  }
}

/// Bytes of a file, read with bounds: nil where they end.
struct Bytes {
  private let bytes: [UInt8]
  var count: Int { bytes.count }

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  subscript(index: Int) -> UInt8? { bytes.indices.contains(index) ? bytes[index] : nil }

  func range(_ start: Int, _ count: Int) -> ArraySlice<UInt8>? {
    guard start >= 0, count >= 0, start <= bytes.count, count <= bytes.count - start else { return nil }
    return bytes[start..<start + count]
  }

  /// A whole number of `width` bytes, the lowest first, not negative; nil also where it does not fit.
  func int(_ start: Int, _ width: Int) -> Int? {
    guard let slice = range(start, width) else { return nil }
    return Int(exactly: slice.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }
}

extension InputFile {
  /// The bytes of `range`.
  func bytes(_ range: Range<Int>) throws(Failure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try read(into: UnsafeMutableRawBufferPointer(buffer), at: range.lowerBound)
    }
    return bytes
  }
}
