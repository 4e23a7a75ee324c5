import Glibc
import System

/// A file of scalars that TensorBoard reads while the job runs: TFRecords of `Event` messages.
///
/// A record is its length (8 bytes), a checksum of the length, the message, and a checksum of that; checksums are CRC-32C,
/// masked (tensorflow/core/lib/io/record_writer.h, lib/hash/crc32c.h). Of the messages (core/util/event.proto,
/// core/framework/summary.proto) only what a scalar needs is written.
public final class EventFile {
  public let path: String
  private let descriptor: Int32

  /// Creates a file of its own in the folder `folder`, under a name that TensorBoard looks for.
  ///
  /// - Parameter time: seconds since 1970.
  public init(folder: String, host: String, time: Double) throws(Failure) {
    path = "\(folder)/events.out.tfevents.\(Int(time)).\(host).\(getpid()).0"
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Failure(.cannotCreate, at: path, "cannot be written: \(lastSystemError())") }
    // The first event says which format follows.
    try append(Message().double(1, time).text(3, "brain.Event:2"))
  }

  deinit { close(descriptor) }

  /// Appends figures of one step; those that are not defined are left out.
  public func write(_ values: [(tag: String, value: Double)], step: Int, time: Double) throws(Failure) {
    let known = values.filter(\.value.isFinite)
    guard !known.isEmpty else { return }
    var summary = Message()
    for (tag, value) in known { summary = summary.message(1, Message().text(1, tag).float(2, Float(value))) }
    try append(Message().double(1, time).integer(2, UInt64(step)).message(5, summary))
  }

  private func append(_ event: Message) throws(Failure) {
    let length = withUnsafeBytes(of: UInt64(event.bytes.count).littleEndian) { Array($0) }
    let record = length + Self.checksum(length) + event.bytes + Self.checksum(event.bytes)
    try writeAll(record, to: descriptor, at: path)
  }

  private static func checksum(_ bytes: [UInt8]) -> [UInt8] {
    let crc = crc32c(bytes)
    let masked = (crc >> 15 | crc << 17) &+ 0xA282_EAD8
    return withUnsafeBytes(of: masked.littleEndian) { Array($0) }
  }
}

/// CRC-32C (Castagnoli), bit by bit: records are small.
package func crc32c(_ bytes: [UInt8]) -> UInt32 {
  var crc: UInt32 = 0xFFFF_FFFF
  for byte in bytes {
    crc ^= UInt32(byte)
    for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
  }
  return ~crc
}

/// A message of protocol buffers (protobuf.dev/programming-guides/encoding).
private struct Message {
  private(set) var bytes: [UInt8] = []

  func double(_ field: UInt8, _ value: Double) -> Message {
    adding([field << 3 | 1]) { withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
  }

  func float(_ field: UInt8, _ value: Float) -> Message {
    adding([field << 3 | 5]) { withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
  }

  func integer(_ field: UInt8, _ value: UInt64) -> Message { adding([field << 3]) { Self.variable(value) } }

  func text(_ field: UInt8, _ value: String) -> Message { bytes(field, Array(value.utf8)) }

  func message(_ field: UInt8, _ value: Message) -> Message { bytes(field, value.bytes) }

  private func bytes(_ field: UInt8, _ value: [UInt8]) -> Message {
    adding([field << 3 | 2]) { Self.variable(UInt64(value.count)) + value }
  }

  private func adding(_ key: [UInt8], _ value: () -> [UInt8]) -> Message {
    var result = self
    result.bytes += key + value()
    return result
  }

  /// Seven bits a byte, the lowest first; the top bit says that more follow.
  private static func variable(_ value: UInt64) -> [UInt8] {
    var (rest, result): (UInt64, [UInt8]) = (value, [])
    while rest >= 0x80 {
      result.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    return result + [UInt8(rest)]
  }
}
