import CZlib
import System

/// The bytes that a DEFLATE stream without a header stands for, by zlib.
///
/// - Parameters:
///   - size: how many they must be; memory is taken for so many and no more.
///   - place: names the stream in messages.
/// - Throws: `.badData` with `place` where it is no such stream.
func inflated(_ input: UnsafeBufferPointer<UInt8>, size: Int, place: String) throws(Failure) -> [UInt8] {
  var stream = z_stream()
  // Negative: an archive has a header of its own.
  let status = inflateInit2_(&stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
  guard status == Z_OK, let availableIn = UInt32(exactly: input.count), let availableOut = UInt32(exactly: size) else {
    throw Failure(.unavailable, at: place, "cannot be unpacked: zlib gives \(status) for \(size) bytes")
  }
  defer { inflateEnd(&stream) }
  stream.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
  stream.avail_in = availableIn
  var end = Z_OK
  let bytes = [UInt8](unsafeUninitializedCapacity: max(1, size)) { buffer, count in
    stream.next_out = buffer.baseAddress
    stream.avail_out = availableOut
    end = inflate(&stream, Z_FINISH)
    count = size - Int(stream.avail_out)
  }
  guard end == Z_STREAM_END, bytes.count == size else {
    throw Failure(.badData, at: place, "is no DEFLATE stream of \(size) bytes", hint: "fetch it again")
  }
  return bytes
}

/// The CRC-32 of bytes.
package func checksum(_ bytes: [UInt8]) -> UInt32 {
  bytes.withUnsafeBufferPointer { UInt32(truncatingIfNeeded: crc32_z(0, $0.baseAddress, $0.count)) }
}
