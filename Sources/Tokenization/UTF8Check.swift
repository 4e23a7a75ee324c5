/// The length of the well-formed UTF-8 sequence that starts at `index` (Unicode 16, table 3-7: no overlong forms, no
/// surrogates, nothing above U+10FFFF) and its scalar value, or nil.
@inline(__always)
func decodeScalar(_ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> (value: UInt32, length: Int)? {
  let lead = bytes[index]
  if lead < 0x80 { return (UInt32(lead), 1) }
  let left = bytes.count - index
  func trailing(_ offset: Int) -> UInt32? {
    guard offset < left else { return nil }
    let byte = bytes[index + offset]
    return byte & 0xC0 == 0x80 ? UInt32(byte & 0x3F) : nil
  }
  switch lead {
  case 0xC2...0xDF:
    guard let second = trailing(1) else { return nil }
    return (UInt32(lead & 0x1F) << 6 | second, 2)
  case 0xE0...0xEF:
    guard let second = trailing(1), let third = trailing(2) else { return nil }
    let value = UInt32(lead & 0x0F) << 12 | second << 6 | third
    return value < 0x800 || (0xD800...0xDFFF).contains(value) ? nil : (value, 3)
  case 0xF0...0xF4:
    guard let second = trailing(1), let third = trailing(2), let fourth = trailing(3) else { return nil }
    let value = UInt32(lead & 0x07) << 18 | second << 12 | third << 6 | fourth
    return (0x10000...0x10FFFF).contains(value) ? (value, 4) : nil
  default:
    return nil
  }
}

/// The index of the first byte of `bytes` that is not part of well-formed UTF-8, or nil.
package func firstInvalidUTF8(in bytes: UnsafeBufferPointer<UInt8>) -> Int? {
  var index = 0
  while index < bytes.count {
    if bytes[index] < 0x80 {
      index += 1
    } else if let scalar = decodeScalar(bytes, at: index) {
      index += scalar.length
    } else {
      return index
    }
  }
  return nil
}

/// `bytes` as text in quotes for a message: at most 40 bytes of it, bad UTF-8 replaced.
package func quoted(_ bytes: some Collection<UInt8>) -> String {
  let limit = 40
  let shown = String(decoding: bytes.prefix(limit), as: UTF8.self)
  return bytes.count > limit ? "\"\(shown)…\" (\(bytes.count) bytes)" : "\"\(shown)\""
}

/// The scalar that `bytes` end with, or nil.
func lastScalar(_ bytes: UnsafeBufferPointer<UInt8>) -> (value: UInt32, length: Int)? {
  var start = bytes.count - 1
  while start > 0 && bytes.count - start < 4 && bytes[start] & 0xC0 == 0x80 { start -= 1 }
  guard start >= 0, let scalar = decodeScalar(bytes, at: start), start + scalar.length == bytes.count else {
    return nil
  }
  return scalar
}

/// The scalars of `bytes`, those that are not UTF-8 passed over.
func scalars(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt32] {
  var result: [UInt32] = []
  result.reserveCapacity(bytes.count)
  var index = 0
  while index < bytes.count {
    if let scalar = decodeScalar(bytes, at: index) {
      result.append(scalar.value)
      index += scalar.length
    } else {
      index += 1
    }
  }
  return result
}

/// Appends `value` as UTF-8.
func append(_ value: UInt32, to bytes: inout [UInt8]) {
  if value < 0x80 {
    bytes.append(UInt8(value))
  } else if let scalar = Unicode.Scalar(value) {
    bytes.append(contentsOf: UTF8.encode(scalar)!)
  }
}
