import Glibc

/// Float memory that all ranks of a host see: weights and gradients need no copies between them.
///
/// It lives as long as the communicator that made it. What one rank writes others may read after a collective.
public struct HostMemory {
  /// The part of each rank on this host, by local rank.
  public let parts: [UnsafeMutableBufferPointer<Float>]

  init(_ parts: [UnsafeMutableBufferPointer<Float>]) { self.parts = parts }
}

/// Where parts of host memory begin: at pages, so that every rank sees them at the start of a cache line.
let hostMemoryAlignment = 4096

/// Owns float memory.
final class FloatAllocations {
  private var pointers: [UnsafeMutableRawPointer] = []

  /// `count` floats, 0 at first. Large memory asks for huge pages: products walk through it in large strides.
  func make(_ count: Int) -> UnsafeMutableBufferPointer<Float> {
    let hugePageBytes = 1 << 21
    let byteCount = max(count, 1) * MemoryLayout<Float>.stride
    let isLarge = byteCount >= 2 * hugePageBytes
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: byteCount, alignment: isLarge ? hugePageBytes : hostMemoryAlignment)
    // A wish: without huge pages it is slower, not wrong.
    if isLarge { madvise(memory, byteCount, MADV_HUGEPAGE) }
    pointers.append(memory)
    let floats = memory.bindMemory(to: Float.self, capacity: max(count, 1))
    floats.initialize(repeating: 0, count: count)
    return UnsafeMutableBufferPointer(start: floats, count: count)
  }

  deinit { for pointer in pointers { pointer.deallocate() } }
}
