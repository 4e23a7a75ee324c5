import Kernels

extension FloatBuffer {
  /// A digest of all bits, the same for the same bits: FNV-1a over 8-byte words in four lanes, at the speed of memory.
  public var digest: UInt64 {
    let words = UnsafeRawPointer(pointer)
    let prime: UInt64 = 0x100_0000_01b3
    var lanes = SIMD4<UInt64>(repeating: 0xcbf2_9ce4_8422_2325) &+ SIMD4(0, 1, 2, 3)
    let byteCount = count * MemoryLayout<Float>.stride
    var offset = 0
    while offset + 32 <= byteCount {
      lanes = (lanes ^ words.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)) &* SIMD4(repeating: prime)
      offset += 32
    }
    var digest: UInt64 = 0
    for lane in 0..<4 { digest = (digest ^ lanes[lane]) &* prime }
    while offset < byteCount {
      digest = (digest ^ UInt64(words.load(fromByteOffset: offset, as: UInt32.self))) &* prime
      offset += 4
    }
    return digest
  }
}
