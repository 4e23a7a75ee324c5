/// The hash FNV-1a: of each element, `hash = (hash ^ element) * prime`. It finds accidents, not attacks.
///
/// Source: Fowler, Noll and Vo, http://www.isthe.com/chongo/tech/comp/fnv/. Of words of 8 bytes it is a variation of ours.
public struct FNV1a: Sendable {
  private static let prime: UInt64 = 0x100_0000_01b3
  public static let start: UInt64 = 0xcbf2_9ce4_8422_2325

  public private(set) var value: UInt64

  /// - Parameter value: what a hash that is continued had; the standard's own by default.
  public init(_ value: UInt64 = Self.start) { self.value = value }

  /// Adds one word of 8 bytes.
  public mutating func add(_ word: UInt64) { value = (value ^ word) &* Self.prime }

  /// Adds one byte.
  public mutating func add(_ byte: UInt8) { add(UInt64(byte)) }

  /// Adds every byte.
  public mutating func add(_ bytes: some Sequence<UInt8>) { for byte in bytes { add(byte) } }

  /// The hash of `bytes`.
  public static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
    var hash = FNV1a()
    hash.add(bytes)
    return hash.value
  }
}
