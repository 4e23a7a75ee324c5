/// The hash FNV-1a: of each element, `hash = (hash ^ element) * prime`. It finds accidents, not attacks.
///
/// Source: Fowler, Noll and Vo, http://www.isthe.com/chongo/tech/comp/fnv/. Of words of 8 bytes it is a variation of ours.
@frozen public struct FNV1a: Sendable {
  @inlinable static var prime: UInt64 { 0x100_0000_01b3 }
  /// The hash of nothing.
  @inlinable public static var start: UInt64 { 0xcbf2_9ce4_8422_2325 }

  public var value: UInt64

  /// - Parameter value: what a hash that is continued had; the standard's own by default.
  @inlinable public init(_ value: UInt64 = Self.start) { self.value = value }

  /// Adds one word of 8 bytes.
  @inlinable public mutating func add(_ word: UInt64) { value = (value ^ word) &* Self.prime }

  /// Adds one byte.
  @inlinable public mutating func add(_ byte: UInt8) { add(UInt64(byte)) }

  /// Adds every byte.
  @inlinable public mutating func add(_ bytes: some Sequence<UInt8>) { for byte in bytes { add(byte) } }

  /// The hash of memory whose size is a multiple of 4, in four lanes of words of 8 bytes, which then are added in turn: at the
  /// speed of memory. A variation of ours.
  @inlinable public static func hash(inLanes memory: UnsafeRawBufferPointer) -> UInt64 {
    var lanes = SIMD4<UInt64>(repeating: start) &+ SIMD4(0, 1, 2, 3)
    var offset = 0
    while offset + 32 <= memory.count {
      lanes = (lanes ^ memory.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)) &* SIMD4(repeating: prime)
      offset += 32
    }
    var hash = FNV1a(0)
    for lane in 0..<4 { hash.add(lanes[lane]) }
    while offset < memory.count {
      hash.add(UInt64(memory.load(fromByteOffset: offset, as: UInt32.self)))
      offset += 4
    }
    return hash.value
  }

  /// The hash of `bytes`.
  @inlinable public static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
    var hash = FNV1a()
    hash.add(bytes)
    return hash.value
  }
}
